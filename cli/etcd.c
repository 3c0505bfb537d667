#include "etcd.h"

enum err etcd_open(const struct settings *s, struct meta **out, char why[256])
{
    struct meta_etcd_conf conf = {.endpoints = s->cluster_etcd.items,
                                  .endpoint_count = s->cluster_etcd.count,
                                  .prefix = s->cluster_prefix,
                                  .user = s->cluster_user,
                                  .password = s->cluster_password,
                                  .ca_file = s->cluster_ca,
                                  .cert_file = s->cluster_cert,
                                  .key_file = s->cluster_key};

    return meta_etcd_open(&conf, out, why);
}

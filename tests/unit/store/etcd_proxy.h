/* etcd_proxy.h - what a network does to connections, between a client and etcd.
 *
 * Shape    one thread carries bytes between pairs of sockets; tests turn its switches.
 * Owns     etcd_proxy_free() ends the thread and the connections.
 * Thread   switches: any.
 */
#ifndef SLUICE_TESTS_STORE_ETCD_PROXY_H
#define SLUICE_TESTS_STORE_ETCD_PROXY_H

struct etcd_proxy;
struct etcd_proxy *etcd_proxy_new(const char *target_url);
const char *etcd_proxy_url(const struct etcd_proxy *p);
/* From now on nobody gets through, and whoever is connected is thrown out; 0 ends that. */
void etcd_proxy_refuse(struct etcd_proxy *p, int on);
/* Loses the answers to the next n transactions, after etcd has them. */
void etcd_proxy_swallow(struct etcd_proxy *p, int n);
/* How many of those are still to come. */
int etcd_proxy_swallows_left(const struct etcd_proxy *p);
/* The connections of now stay open, but nothing more comes from etcd. */
void etcd_proxy_deafen(struct etcd_proxy *p);
void etcd_proxy_free(struct etcd_proxy *p);

#endif

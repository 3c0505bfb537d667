#include "s3api/encryption.h"

enum err encryption_fits(struct s3_request *r)
{
    if (!r->env->conf->encrypts)
        return reply_error(r, ERR_NOT_IMPLEMENTED,
                           "This server has no keys for encryption (encryption.key_file): "
                           "x-amz-server-side-encryption is not implemented.");
    if (r->bucket.id.backend || r->bucket.id.view)
        return reply_error(r, ERR_NOT_IMPLEMENTED,
                           "x-amz-server-side-encryption is not implemented for buckets that show what is elsewhere.");
    return ERR_OK;
}

enum err encryption_check(struct s3_request *r, struct str value)
{
    reply_detail(r, STR("Header"), ATTR_ENCRYPTION); /* of a refusal */
    if (str_eq(value, ENCRYPTION_S3))
        return encryption_fits(r);
    if (str_starts(value, STR("aws:")))
        return reply_error(r, ERR_NOT_IMPLEMENTED,
                           "x-amz-server-side-encryption: " STR_FMT " is not implemented, AES256 is.", STR_ARG(value));
    reply_detail(r, STR("ArgumentName"), ATTR_ENCRYPTION);
    reply_detail(r, STR("ArgumentValue"), value);
    return reply_error(r, ERR_INVALID_ENCRYPTION, "The encryption method specified is not supported");
}

void encryption_collect(struct s3_request *r, struct object_info *info)
{
    struct bucket_id asked = {.encrypted = s3_header(r, ATTR_ENCRYPTION).n > 0};

    object_encrypt_as(r->arena, &asked, info);
}

void encryption_reply(struct s3_request *r, const struct object_info *info)
{
    if (r->bucket.id.encrypted || (info && object_is_encrypted(info)))
        reply_header(r, ATTR_ENCRYPTION, ENCRYPTION_S3);
}

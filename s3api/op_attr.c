/* Where a bucket says it is. */
#include "s3api/request.h"

enum step_next get_bucket_location(struct op *op)
{
    struct s3_request *r = S3(op);
    struct str region = s3_bucket_region(r, &r->bucket);
    struct buf *b = reply_xml(r);

    /* us-east-1 is said by an empty element (S3 API: GetBucketLocation) */
    xml_begin(b, STR("LocationConstraint"));
    xml_escape(b, str_eq(region, STR("us-east-1")) ? STR("") : region);
    xml_close(b, STR("LocationConstraint"));
    return op_go(op, reply_send);
}

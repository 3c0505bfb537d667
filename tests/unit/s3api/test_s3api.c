/* Requests from head to answer, through operations on buckets and listings. */
#include "s3api/s3api.h"

#include "exchange.h"
#include "unit.h"

static struct exchange_world w;

static int setup(void **state)
{
    (void)state;
    exchange_open(&w);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    exchange_close(&w);
    return 0;
}

static int send(const char *method, const char *target)
{
    return exchange(&w, method, target, NULL, STR_NONE);
}

static int send_with(const char *method, const char *target, const char *headers)
{
    return exchange(&w, method, target, headers, STR_NONE);
}

static int send_body(const char *method, const char *target, const char *body)
{
    return exchange(&w, method, target, NULL, str_z(body));
}

static void assert_element(const char *name, const char *text)
{
    struct str found = exchange_element(&w, name);

    if (!str_eq(found, str_z(text)))
        print_error("<%s> is \"" STR_FMT "\", not \"%s\"\n", name, STR_ARG(found), text);
    assert_true(str_eq(found, str_z(text)));
}

static void assert_error(int got, int status, const char *code)
{
    assert_int_equal(got, status);
    assert_element("Code", code);
}

static void put(const char *target)
{
    assert_int_equal(send_body("PUT", target, "data"), 200);
}

static void make_bucket(const char *target)
{
    assert_int_equal(send("PUT", target), 200);
}

/* ---- every answer ---- */

static void an_error_names_its_request(void **state)
{
    (void)state;
    assert_error(send("GET", "/nosuch/k%20<"), 404, "NoSuchBucket");
    assert_element("BucketName", "nosuch");
    assert_element("Resource", "/nosuch/k%20&lt;");
    assert_element("RequestId", "0123456789ABCDEF");
    assert_true(str_eq(exchange_header(&w, "x-amz-request-id"), STR("0123456789ABCDEF")));
    assert_true(str_eq(exchange_header(&w, "x-amz-id-2"), exchange_element(&w, "HostId")));
    assert_true(str_eq(exchange_header(&w, "content-type"), STR("application/xml")));
}

static void a_head_error_has_no_body(void **state)
{
    (void)state;
    assert_int_equal(send("HEAD", "/nosuch"), 404);
    assert_int_equal(w.body.n, 0);
    assert_true(exchange_header(&w, "x-amz-request-id").n > 0);
}

static void strangers_are_refused_before_anything_is_told(void **state)
{
    (void)state;
    w.conf.auth_none = false;
    assert_error(send("GET", "/"), 403, "AccessDenied");
    assert_error(send("GET", "/nosuch"), 403, "AccessDenied");
    assert_error(send("PUT", "/NOT_A_NAME"), 403, "AccessDenied");
    assert_error(send("GET", "/bkt?acl&policy"), 403, "AccessDenied");
    assert_int_equal(send("HEAD", "/nosuch/k"), 403);
}

static void broken_targets_are_refused(void **state)
{
    (void)state;
    assert_error(send("GET", "/bkt/%zz"), 400, "InvalidURI");
    assert_error(send("GET", "/bkt?a=%"), 400, "InvalidURI");
    assert_error(send("GET", "/Bkt"), 400, "InvalidBucketName");
    assert_error(send("GET", "//key"), 400, "InvalidBucketName");
}

static void unbuilt_operations_answer_by_name(void **state)
{
    (void)state;
    make_bucket("/bkt");
    assert_error(send_body("PUT", "/bkt?metrics", "<MetricsConfiguration/>"), 501, "NotImplemented");
    assert_element("Message", "PutBucketMetricsConfiguration is not implemented.");
    assert_error(send("GET", "/bkt/k?torrent"), 501, "NotImplemented");
    assert_element("Message", "GetObjectTorrent is not implemented.");
    w.conf.auth_none = false; /* forms carry no signature in their heads */
    assert_error(send_body("POST", "/bkt", "--x"), 412, "PreconditionFailed");
}

static void wrong_methods_and_mixtures_are_refused(void **state)
{
    (void)state;
    assert_error(send("POST", "/"), 405, "MethodNotAllowed");
    assert_element("ResourceType", "SERVICE");
    assert_error(send("PATCH", "/bkt"), 405, "MethodNotAllowed");
    assert_error(send("GET", "/bkt?acl&policy"), 400, "InvalidArgument");
}

/* ---- buckets ---- */

static void a_bucket_is_made_found_and_removed(void **state)
{
    (void)state;
    assert_int_equal(send("PUT", "/bkt"), 200);
    assert_true(str_eq(exchange_header(&w, "location"), STR("/bkt")));
    assert_int_equal(send("HEAD", "/bkt"), 200);
    assert_true(str_eq(exchange_header(&w, "x-amz-bucket-region"), STR("us-east-1")));
    assert_int_equal(send("GET", "/"), 200);
    assert_element("Name", "bkt");
    put("/bkt/k");
    assert_error(send("DELETE", "/bkt"), 409, "BucketNotEmpty");
    assert_int_equal(send("PUT", "/bkt"), 200); /* again: changes nothing */
    assert_int_equal(send("GET", "/bkt/k"), 200);
    assert_int_equal(send("DELETE", "/bkt/k"), 204);
    assert_int_equal(send("DELETE", "/bkt"), 204);
    assert_int_equal(w.body.n, 0);
    assert_error(send("DELETE", "/bkt"), 404, "NoSuchBucket");
}

static void a_location_is_kept(void **state)
{
    (void)state;
    assert_int_equal(send_body("PUT", "/bkt",
                               "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
                               "<LocationConstraint>eu-x</LocationConstraint></CreateBucketConfiguration>"),
                     200);
    assert_int_equal(send("GET", "/bkt?location"), 200);
    assert_true(exchange_body_has(&w, ">eu-x</LocationConstraint>"));
    assert_int_equal(send("HEAD", "/bkt"), 200);
    assert_true(str_eq(exchange_header(&w, "x-amz-bucket-region"), STR("eu-x")));
    assert_error(send("PUT", "/bkt"), 409, "BucketAlreadyOwnedByYou");
    make_bucket("/other");
    assert_int_equal(send("GET", "/?bucket-region=eu-x"), 200);
    assert_element("Name", "bkt");
    assert_element("BucketRegion", "eu-x");
    assert_false(exchange_body_has(&w, "other"));
}

static enum err five_targets(void *arg, struct redundancy r, char why[S3_WHY_MAX])
{
    (void)arg;
    snprintf(why, S3_WHY_MAX, "there are 5 targets");
    return redundancy_nodes(r) > 5 ? ERR_INVALID_REQUEST : ERR_OK;
}

static int create_with(const char *target, const char *redundancy)
{
    char header[64];

    snprintf(header, sizeof(header), "x-sluice-redundancy: %s\n", redundancy);
    return exchange(&w, "PUT", target, header, STR(""));
}

static void expect_redundancy(const char *target, const char *redundancy)
{
    assert_int_equal(send("HEAD", target), 200);
    assert_string_equal(
        exchange_header(&w, "x-sluice-redundancy").p ? exchange_header(&w, "x-sluice-redundancy").p : "", redundancy);
}

static void redundancy_is_what_was_asked_for(void **state)
{
    (void)state;
    w.conf.redundancy_fits = five_targets;
    w.conf.redundancy = (struct redundancy){REDUNDANCY_REPLICAS, 3, 0};
    make_bucket("/default");
    expect_redundancy("/default", "replicas=3");
    assert_int_equal(create_with("/cut", "ec=3+2"), 200);
    expect_redundancy("/cut", "ec=3+2");
    assert_int_equal(create_with("/single", "none"), 200);
    expect_redundancy("/single", "");
    assert_int_equal(send("PUT", "/cut"), 200); /* again, without saying what */
    assert_int_equal(create_with("/cut", "ec=3+2"), 200);
    assert_error(create_with("/cut", "ec=2+2"), 400, "InvalidRequest");
    assert_element("Message", "The bucket exists with redundancy ec=3+2, which can't be changed.");
    assert_error(create_with("/cut", "none"), 400, "InvalidRequest");
    expect_redundancy("/cut", "ec=3+2");
}

static void redundancy_that_can_not_be_is_refused(void **state)
{
    (void)state;
    assert_error(create_with("/bkt", "replicas=2"), 501, "NotImplemented");
    w.conf.redundancy_fits = five_targets;
    assert_error(create_with("/bkt", "ec=4+2"), 400, "InvalidRequest");
    assert_element("Message", "there are 5 targets.");
    assert_error(create_with("/bkt", "raid5"), 400, "InvalidArgument");
    assert_error(create_with("/bkt", ""), 400, "InvalidArgument");
    assert_int_equal(send("HEAD", "/bkt"), 404);
}

static void create_refuses_what_it_would_not_do(void **state)
{
    (void)state;
    assert_error(send_body("PUT", "/bkt", "<CreateBucketConfiguration>"), 400, "MalformedXML");
    assert_error(send_body("PUT", "/bkt", "<Other/>"), 400, "MalformedXML");
    assert_error(send_body("PUT", "/bkt",
                           "<CreateBucketConfiguration><LocationConstraint>a b</LocationConstraint>"
                           "</CreateBucketConfiguration>"),
                 400, "InvalidLocationConstraint");
    assert_error(send_body("PUT", "/bkt",
                           "<CreateBucketConfiguration><Bucket><Type>Directory</Type></Bucket>"
                           "</CreateBucketConfiguration>"),
                 501, "NotImplemented");
    assert_error(send_with("PUT", "/bkt", "x-amz-bucket-object-lock-enabled: maybe\n"), 400, "InvalidArgument");
    assert_error(send_with("PUT", "/bkt", "x-amz-acl: public-read\n"), 400, "InvalidBucketAclWithObjectOwnership");
    assert_error(send_with("PUT", "/bkt", "x-amz-acl: log-delivery-write\n"), 501, "NotImplemented");
    assert_error(send_with("PUT", "/bkt", "x-amz-grant-read: id=1\n"), 400, "InvalidArgument");
    assert_error(send_with("PUT", "/bkt", "x-amz-object-ownership: Mine\n"), 400, "InvalidArgument");
    assert_error(
        exchange(&w, "PUT", "/bkt", "content-md5: AAAAAAAAAAAAAAAAAAAAAA==\n", STR("<CreateBucketConfiguration/>")),
        400, "BadDigest");
    assert_error(send_with("PUT", "/bkt", "content-md5: AAAAAAAAAAAAAAAAAAAAAA==\n"), 400, "BadDigest");
    assert_int_equal(send("HEAD", "/bkt"), 404);
    assert_int_equal(send_with("PUT", "/bkt", "x-amz-acl: private\nx-amz-bucket-object-lock-enabled: false\n"), 200);
}

static void buckets_are_listed_in_pages(void **state)
{
    char target[256];

    (void)state;
    make_bucket("/ccc");
    make_bucket("/aaa");
    make_bucket("/aab");
    assert_int_equal(send("GET", "/?max-buckets=1&prefix=aa"), 200);
    assert_element("Name", "aaa");
    assert_element("Prefix", "aa");
    struct str token = exchange_element(&w, "ContinuationToken");
    assert_true(token.n > 0);
    snprintf(target, sizeof(target), "/?prefix=aa&continuation-token=" STR_FMT, STR_ARG(token));
    assert_int_equal(send("GET", target), 200);
    assert_element("Name", "aab");
    assert_null(exchange_element(&w, "ContinuationToken").p);
    assert_false(exchange_body_has(&w, "ccc"));
    assert_error(send("GET", "/?max-buckets=0"), 400, "InvalidArgument");
    assert_error(send("GET", "/?max-buckets=10001"), 400, "InvalidArgument");
    assert_error(send("GET", "/?continuation-token=x"), 400, "InvalidArgument");
}

static void an_expected_owner_must_be_right(void **state)
{
    char header[128] = "x-amz-expected-bucket-owner: ";

    (void)state;
    make_bucket("/bkt");
    assert_error(send_with("GET", "/bkt", "x-amz-expected-bucket-owner: 111122223333\n"), 403, "AccessDenied");
    assert_int_equal(send("GET", "/bkt?acl"), 200);
    struct str id = exchange_element(&w, "ID");
    snprintf(header + strlen(header), 80, STR_FMT "\n", STR_ARG(id));
    assert_int_equal(send_with("GET", "/bkt", header), 200);
}

static void settings_never_made_answer_as_on_s3(void **state)
{
    static const struct {
        const char *query, *code;
    } missing[] = {
        {"policy", "NoSuchBucketPolicy"},
        {"policyStatus", "NoSuchBucketPolicy"},
        {"cors", "NoSuchCORSConfiguration"},
        {"lifecycle", "NoSuchLifecycleConfiguration"},
        {"tagging", "NoSuchTagSet"},
        {"encryption", "ServerSideEncryptionConfigurationNotFoundError"},
        {"object-lock", "ObjectLockConfigurationNotFoundError"},
        {"website", "NoSuchWebsiteConfiguration"},
        {"ownershipControls", "OwnershipControlsNotFoundError"},
        {"publicAccessBlock", "NoSuchPublicAccessBlockConfiguration"},
        {"replication", "ReplicationConfigurationNotFoundError"},
    };
    char target[64];

    (void)state;
    make_bucket("/bkt");
    for (size_t i = 0; i < sizeof(missing) / sizeof(missing[0]); i++) {
        snprintf(target, sizeof(target), "/bkt?%s", missing[i].query);
        assert_error(send("GET", target), 404, missing[i].code);
        snprintf(target, sizeof(target), "/nosuch?%s", missing[i].query);
        assert_error(send("GET", target), 404, "NoSuchBucket");
    }
    assert_int_equal(send("GET", "/bkt?versioning"), 200);
    assert_true(exchange_body_has(&w, "\"></VersioningConfiguration>"));
    assert_int_equal(send("GET", "/bkt?requestPayment"), 200);
    assert_element("Payer", "BucketOwner");
    assert_int_equal(send("GET", "/bkt?location="), 200);
    assert_true(exchange_body_has(&w, "\"></LocationConstraint>"));
}

static void acls_say_that_only_the_owner_has_access(void **state)
{
    (void)state;
    make_bucket("/bkt");
    assert_int_equal(send("GET", "/bkt?acl"), 200);
    assert_element("Permission", "FULL_CONTROL");
    assert_error(send("GET", "/bkt/k?acl"), 404, "NoSuchKey");
    assert_element("Key", "k");
    put("/bkt/k");
    assert_int_equal(send("GET", "/bkt/k?acl"), 200);
    assert_element("Permission", "FULL_CONTROL");
}

/* ---- listings ---- */

static void fill(void)
{
    make_bucket("/bkt");
    put("/bkt/a+b");
    put("/bkt/d/1");
    put("/bkt/d/2%0d");
    put("/bkt/d-1");
    put("/bkt/e%20e");
    put("/bkt/f/");
}

static void version_1_lists(void **state)
{
    (void)state;
    fill();
    assert_int_equal(send("GET", "/bkt?delimiter=/&max-keys=3&prefix=&marker=a"), 200);
    assert_element("Name", "bkt");
    assert_element("Prefix", ""); /* the first one: the echo */
    assert_element("Marker", "a");
    assert_element("NextMarker", "d/");
    assert_element("MaxKeys", "3");
    assert_element("Delimiter", "/");
    assert_element("IsTruncated", "true");
    assert_true(exchange_body_has(&w, "<Contents><Key>a+b</Key><LastModified>"));
    assert_true(exchange_body_has(&w, "<CommonPrefixes><Prefix>d/</Prefix></CommonPrefixes>"));
    assert_true(exchange_element(&w, "DisplayName").n > 0);
    assert_int_equal(send("GET", "/bkt?delimiter=/&marker=d/"), 200);
    assert_false(exchange_body_has(&w, "<Prefix>d/</Prefix>"));
    assert_true(exchange_body_has(&w, "<Prefix>f/</Prefix>"));
    assert_null(exchange_element(&w, "NextMarker").p);
    assert_int_equal(send("GET", "/bkt?max-keys=1"), 200); /* no delimiter: the client takes the last key */
    assert_element("IsTruncated", "true");
    assert_null(exchange_element(&w, "NextMarker").p);
    assert_null(exchange_element(&w, "Delimiter").p);
}

static void version_2_lists(void **state)
{
    char target[256];

    (void)state;
    fill();
    assert_int_equal(send("GET", "/bkt?list-type=2&delimiter=/&max-keys=3"), 200);
    assert_element("KeyCount", "3");
    assert_element("IsTruncated", "true");
    assert_null(exchange_element(&w, "Owner").p);
    assert_null(exchange_element(&w, "Marker").p);
    assert_null(exchange_element(&w, "ContinuationToken").p);
    struct str token = exchange_element(&w, "NextContinuationToken");
    assert_true(token.n > 0);
    snprintf(target, sizeof(target),
             "/bkt?list-type=2&delimiter=/&start-after=zzz&fetch-owner=true&continuation-token=" STR_FMT,
             STR_ARG(token));
    assert_int_equal(send("GET", target), 200); /* the token counts, start-after is echoed */
    assert_element("KeyCount", "2");
    assert_element("IsTruncated", "false");
    assert_element("StartAfter", "zzz");
    assert_true(exchange_element(&w, "ContinuationToken").n > 0);
    assert_null(exchange_element(&w, "NextContinuationToken").p);
    assert_true(exchange_element(&w, "Owner").n > 0);
    assert_true(exchange_body_has(&w, "<Key>e e</Key>"));
    assert_int_equal(send("GET", "/bkt?list-type=2&start-after=e&continuation-token="), 200);
    assert_element("ContinuationToken", ""); /* echoed, and as good as none */
    assert_element("KeyCount", "2");
    assert_error(send("GET", "/bkt?list-type=2&continuation-token=garbage"), 400, "InvalidArgument");
}

static void unusual_parameters_of_lists(void **state)
{
    (void)state;
    fill();
    assert_int_equal(send("GET", "/bkt?max-keys=0&list-type=2"), 200);
    assert_element("KeyCount", "0");
    assert_element("IsTruncated", "false");
    assert_int_equal(send("GET", "/bkt?max-keys=5000"), 200);
    assert_element("MaxKeys", "1000");
    assert_error(send("GET", "/bkt?max-keys=-1"), 400, "InvalidArgument");
    assert_element("ArgumentName", "max-keys");
    assert_error(send("GET", "/bkt?max-keys=ten"), 400, "InvalidArgument");
    assert_error(send("GET", "/bkt?max-keys=2147483648"), 400, "InvalidArgument");
    assert_error(send("GET", "/bkt?encoding-type=base64"), 400, "InvalidArgument");
    assert_error(send("GET", "/bkt?prefix=%ff"), 400, "InvalidArgument");
    assert_error(send("GET", "/bkt?delimiter=%00"), 400, "InvalidArgument");
    assert_error(send("GET", "/bkt?versions&key-marker=a&version-id-marker=%ff"), 400, "InvalidArgument");
    assert_error(send("GET", "/bkt?uploads&prefix=%ff"), 400, "InvalidArgument");
    assert_error(send("GET", "/bkt?uploads&key-marker=a&upload-id-marker=%00"), 400, "InvalidArgument");
    assert_error(send("GET", "/?prefix=%ff"), 400, "InvalidArgument");
    assert_int_equal(send("GET", "/bkt?delimiter="), 200);
    assert_null(exchange_element(&w, "Delimiter").p);
}

static void url_encoding_covers_every_name(void **state)
{
    (void)state;
    fill();
    assert_int_equal(send("GET", "/bkt?encoding-type=url&delimiter=%2b&marker=%201&prefix=a%2B"), 200);
    assert_element("EncodingType", "url");
    assert_element("Prefix", "a%2B");
    assert_element("Marker", "%201");
    assert_element("Delimiter", "%2B");
    assert_int_equal(send("GET", "/bkt?encoding-type=url&list-type=2&start-after=d/"), 200);
    assert_element("StartAfter", "d/");
    assert_true(exchange_body_has(&w, "<Key>d/2%0D</Key>"));
    assert_true(exchange_body_has(&w, "<Key>e%20e</Key>"));
    assert_int_equal(send("GET", "/bkt?prefix=d/2"), 200); /* without it a CR survives XML as a reference */
    assert_element("Key", "d/2&#xD;");
}

static void versions_of_an_unversioned_bucket(void **state)
{
    (void)state;
    fill();
    assert_int_equal(send("GET", "/bkt?versions&max-keys=2"), 200);
    assert_true(exchange_body_has(&w, "<ListVersionsResult "));
    assert_element("VersionId", "null");
    assert_element("IsLatest", "true");
    assert_element("NextKeyMarker", "d-1");
    assert_element("NextVersionIdMarker", "null");
    assert_int_equal(send("GET", "/bkt?versions&key-marker=d-1&version-id-marker=null"), 200);
    assert_element("KeyMarker", "d-1");
    assert_element("VersionIdMarker", "null");
    assert_element("Key", "d/1");
    assert_element("IsTruncated", "false");
    assert_error(send("GET", "/bkt?versions&version-id-marker=null"), 400, "InvalidArgument");
}

/* ---- clients that leave ---- */

static void a_client_may_leave_at_any_turn(void **state)
{
    (void)state;
    make_bucket("/bkt");
    put("/bkt/k");
    for (w.abort_after = 1; w.abort_after < 12; w.abort_after++) {
        (void)send("GET", "/bkt?list-type=2");
        (void)send_body("PUT", "/fresh", "<CreateBucketConfiguration/>");
        (void)send("DELETE", "/fresh");
        (void)send("GET", "/bkt/k?acl");
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(an_error_names_its_request),
        T(a_head_error_has_no_body),
        T(strangers_are_refused_before_anything_is_told),
        T(broken_targets_are_refused),
        T(unbuilt_operations_answer_by_name),
        T(wrong_methods_and_mixtures_are_refused),
        T(a_bucket_is_made_found_and_removed),
        T(a_location_is_kept),
        T(create_refuses_what_it_would_not_do),
        T(redundancy_is_what_was_asked_for),
        T(redundancy_that_can_not_be_is_refused),
        T(buckets_are_listed_in_pages),
        T(an_expected_owner_must_be_right),
        T(settings_never_made_answer_as_on_s3),
        T(acls_say_that_only_the_owner_has_access),
        T(version_1_lists),
        T(version_2_lists),
        T(unusual_parameters_of_lists),
        T(url_encoding_covers_every_name),
        T(versions_of_an_unversioned_bucket),
        T(a_client_may_leave_at_any_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

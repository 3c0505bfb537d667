#include "s3api/xml.h"

#include "base/clock.h"
#include "unit.h"

static void written_text_is_escaped(void **state)
{
    struct buf b = BUF_INIT(4096);

    (void)state;
    xml_str(&b, STR("K"), STR("a<b>&\"c'\r\n\t\x01\x1f\xc3\xa9"));
    assert_true(str_eq(buf_str(&b), STR("<K>a&lt;b&gt;&amp;&quot;c'&#xD;\n\t&#x1;&#x1F;\xc3\xa9</K>")));
    buf_reset(&b);
    xml_key(&b, STR("K"), STR("a b+c/%~"), true);
    assert_true(str_eq(buf_str(&b), STR("<K>a%20b%2Bc/%25~</K>")));
    buf_reset(&b);
    xml_begin(&b, STR("R"));
    xml_u64(&b, STR("N"), UINT64_MAX);
    xml_bool(&b, STR("B"), false);
    xml_close(&b, STR("R"));
    assert_true(
        str_eq(buf_str(&b), STR("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<R xmlns=\"http://s3.amazonaws.com/"
                                "doc/2006-03-01/\"><N>18446744073709551615</N><B>false</B></R>")));
    buf_release(&b);
}

static void writing_beyond_the_maximum_is_an_error(void **state)
{
    struct buf b = BUF_INIT(16);

    (void)state;
    for (int i = 0; i < 10; i++)
        xml_str(&b, STR("Name"), STR("text"));
    assert_int_equal(buf_err(&b), ERR_TOO_LARGE);
    buf_release(&b);
}

static void a_document_is_read_as_a_tree(void **state)
{
    struct xml_doc d;
    const struct xml_node *c;

    (void)state;
    assert_int_equal(
        xml_read(STR("<?xml version='1.0'?><!-- c --><s3:Delete xmlns:s3=\"urn:x\" a='1'>\n <s3:Object><Key> "
                     "k&lt;&#13;&#x20AC;<![CDATA[<&]]></Key></s3:Object>\n <Quiet/>  "
                     "<Object><Key>2</Key><VersionId>null</VersionId></Object>tail</s3:Delete>"),
                 &d),
        ERR_OK);
    assert_true(str_eq(xml_root(&d)->name, STR("Delete")));
    assert_int_equal(xml_root(&d)->text.n, 0);
    c = xml_first(&d, xml_root(&d));
    assert_true(str_eq(c->name, STR("Object")));
    assert_int_equal(c->text.n, 0);
    assert_true(str_eq(xml_child_text(&d, c, STR("Key")), STR(" k<\r\xe2\x82\xac<&")));
    assert_null(xml_child_text(&d, c, STR("VersionId")).p);
    c = xml_next(&d, xml_root(&d), c);
    assert_true(str_eq(c->name, STR("Quiet")));
    assert_non_null(c->text.p);
    assert_null(xml_first(&d, c));
    c = xml_next(&d, xml_root(&d), c);
    assert_true(str_eq(xml_child_text(&d, c, STR("VersionId")), STR("null")));
    assert_null(xml_next(&d, xml_root(&d), c));
    xml_doc_release(&d);
}

static void what_is_written_can_be_read(void **state)
{
    struct buf b = BUF_INIT(4096);
    struct xml_doc d;

    (void)state;
    xml_begin(&b, STR("R"));
    xml_str(&b, STR("K"), STR(" a\r\n<&>\"' "));
    xml_close(&b, STR("R"));
    assert_int_equal(xml_read(buf_str(&b), &d), ERR_OK);
    assert_true(str_eq(xml_child_text(&d, xml_root(&d), STR("K")), STR(" a\r\n<&>\"' ")));
    xml_doc_release(&d);
    buf_release(&b);
}

static void hostile_documents_are_refused(void **state)
{
    static const char *const bad[] = {
        "",
        " ",
        "text",
        "<a>",
        "<a></b>",
        "<a/><b/>",
        "<a>&nbsp;</a>",
        "<a>&#0;</a>",
        "<a>\xc3</a>",
        "<!DOCTYPE a><a/>",
        "<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>",
        "<!DOCTYPE a SYSTEM \"file:///etc/passwd\"><a/>",
        "<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><a>&x;</a>",
        "<?xml version=\"1.0\" encoding=\"UTF-16\"?><a/>",
    };
    struct xml_doc d;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(xml_read(str_z(bad[i]), &d), ERR_MALFORMED_XML);
}

static void depth_and_count_are_bounded(void **state)
{
    struct buf b = BUF_INIT(4 << 20);
    struct xml_doc d;

    (void)state;
    for (int i = 0; i < XML_DEPTH_MAX; i++)
        buf_add_z(&b, "<a>");
    for (int i = 0; i < XML_DEPTH_MAX; i++)
        buf_add_z(&b, "</a>");
    assert_int_equal(xml_read(buf_str(&b), &d), ERR_OK);
    assert_int_equal(d.count, XML_DEPTH_MAX);
    xml_doc_release(&d);
    buf_reset(&b);
    for (int i = 0; i < 100000; i++)
        buf_add_z(&b, "<a>");
    assert_int_equal(xml_read(buf_str(&b), &d), ERR_MALFORMED_XML);
    buf_reset(&b);
    buf_add_z(&b, "<a>");
    for (int i = 0; i < XML_NODES_MAX; i++)
        buf_add_z(&b, "<b/>");
    buf_add_z(&b, "</a>");
    assert_int_equal(xml_read(buf_str(&b), &d), ERR_MALFORMED_XML);
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_text_is_escaped),       cmocka_unit_test(writing_beyond_the_maximum_is_an_error),
        cmocka_unit_test(a_document_is_read_as_a_tree),  cmocka_unit_test(what_is_written_can_be_read),
        cmocka_unit_test(hostile_documents_are_refused), cmocka_unit_test(depth_and_count_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

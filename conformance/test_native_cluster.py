"""The cluster as AIStore's clients ask for it: map, nodes, health; with the aistore SDK where it is installed."""

import pytest
import requests


def get(s, path, **more):
    return requests.get(f"{s.http}/v1/{path}", timeout=10, **more)


@pytest.mark.parametrize("path", ["daemon", "cluster"])
def test_the_map_leads_to_the_server_itself(open_server, path):
    smap = get(open_server, path + "?what=smap").json()
    assert smap["uuid"] and int(smap["version"]) > 0
    for node in [*smap["pmap"].values(), *smap["tmap"].values(), smap["proxy_si"]]:
        assert node["public_net"]["direct_url"] == open_server.http
    assert len(smap["tmap"]) == len(open_server.data)


def test_nodes_are_known_or_404(open_server):
    tid = next(iter(get(open_server, "daemon?what=smap").json()["tmap"]))
    status = get(open_server, "reverse/daemon?what=node_status", headers={"Ais-Node-Id": tid})
    assert status.status_code == 200 and status.json()["snode"]["daemon_id"] == tid
    assert get(open_server, "reverse/daemon?what=node_status", headers={"Ais-Node-Id": "nobody"}).status_code == 404


def test_what_is_not_served_says_so(open_server):
    r = get(open_server, "daemon?what=bmd")
    assert r.status_code == 501 and "what=bmd" in r.json()["message"]


def test_config_and_health(open_server):
    assert get(open_server, "cluster?what=cluster_config").json()["auth"]["enabled"] is False
    assert get(open_server, "health?prr=true").status_code == 200
    assert get(open_server, "health?readiness=true").status_code == 200


def test_the_sdk_reads_directly(client, open_server):
    cluster = client.cluster()
    assert cluster.is_ready() and cluster.get_uuid() and cluster.get_performance()
    assert cluster.get_info().uuid == cluster.get_uuid() and cluster.get_primary_url() == open_server.http
    o = client.bucket("direct").create(exist_ok=True).object("x/y z")
    o.get_writer().put_content(b"hello")
    assert o.get_reader(direct=True).read_all() == b"hello"

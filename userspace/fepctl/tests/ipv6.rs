// SPDX-License-Identifier: GPL-2.0

//! IPv6: wherever an address is typed or shown.

mod common;

use common::{Place, A, WEB};
use fep_client::{NodeAddr, ServiceKey};
use fep_uapi::RouteRecord;
use fepctl::Exit;

const WEB6: &str = "tcp/[2001:db8::10]:80";
const A6: &str = "[2001:db8::2]:80";
const B6: &str = "[fd00:1:2:3:4:5:6:7]:8080";

/// A service of each family; that of IPv6 has two nodes.
fn both() -> Place {
    let place = Place::with_web();
    // As people type it.
    let typed = "tcp/[2001:0DB8:0:0:0:0:0:10]:http";
    place.run(&["service", "add", typed]).ok();
    place.run(&["backend", "add", WEB6, "2001:db8::2"]).ok();
    place.run(&["backend", "add", WEB6, B6]).ok();
    place
}

fn route(service: &str, client: &str, backend: &str) -> RouteRecord {
    let end = |text: &str| text.parse::<NodeAddr>().unwrap().into();
    RouteRecord {
        service: service.parse::<ServiceKey>().unwrap().into(),
        client: end(client),
        backend: end(backend),
        state: 3,
        ..RouteRecord::default()
    }
}

fn with_routes() -> Place {
    let place = both();
    place.kernel.with(|state| {
        state.routes = vec![
            route(WEB, "192.0.2.1:40000", A),
            route(WEB6, "[2001:db8:ffff::1]:40000", A6),
            route(WEB6, "[2001:db8:ffff::2]:1", B6),
        ];
    });
    place
}

/// The columns of a table that line up: where a word begins in the heading, one begins in each row.
#[track_caller]
fn lined_up(table: &str, columns: &[&str]) {
    let heading = table.lines().next().unwrap();
    for column in columns {
        let at = heading.find(column).unwrap();
        for row in table.lines() {
            let before = &row[at - 2..at];
            assert_eq!(before, "  ", "{column}:\n{table}");
            assert_ne!(&row[at..=at], " ", "{column}:\n{table}");
        }
    }
}

#[test]
fn services_and_backends_are_shown_in_canonical_form() {
    let place = both();
    let text = place.run(&["status"]).ok();
    let start = text.find("tcp/[2001:db8::10]:80  scheduler wrr").unwrap();
    let table: Vec<&str> = text[start..].lines().skip(1).take(3).collect();
    assert!(table[1].starts_with("  [2001:db8::2]:80           nat          1  up"));
    assert!(table[2].starts_with("  [fd00:1:2:3:4:5:6:7]:8080  nat          1  up"));
    lined_up(&table.join("\n"), &["METHOD", "STATE"]);

    let json = place.run(&["status", "--json"]).json();
    assert_eq!(json["services"][1]["service"], WEB6);
    assert_eq!(json["services"][1]["backends"][0]["backend"], A6);
    assert_eq!(json["services"][0]["service"], WEB, "in order of addition");

    let stats = place.run(&["stats"]).ok();
    for name in [WEB, A, WEB6, A6, B6] {
        assert!(stats.lines().any(|line| line.trim().starts_with(name)));
    }
    let widths: Vec<usize> = stats.lines().map(str::len).collect();
    assert!(
        widths.iter().all(|width| *width == widths[0]),
        "the last column is right-aligned: {stats}"
    );
    let json = place.run(&["stats", "--json"]).json();
    assert_eq!(json["services"][1]["backends"][1]["backend"], B6);
}

#[test]
fn each_command_takes_each_form() {
    for node in [
        A6,
        "[2001:db8::2]",
        "2001:db8::2",
        "2001:DB8:0::2",
        "[2001:db8::2]:http",
    ] {
        let place = both();
        place
            .run(&["backend", "set", WEB6, node, "--weight", "7"])
            .ok();
        let weight = || {
            place
                .kernel
                .with(|state| state.entries[1].backends[0].weight)
        };
        assert_eq!(weight(), 7, "{node}");
        place.run(&["backend", "fail", node]).ok();
        let failed = || {
            place
                .kernel
                .with(|state| state.entries[1].backends[0].failed)
        };
        assert!(failed(), "{node}");
        place
            .run(&["backend", "restore", node, "--service", WEB6])
            .ok();
        assert!(!failed(), "{node}");
        let deleted = place.run(&["backend", "del", WEB6, node]).ok();
        assert_eq!(deleted, "0 routes deleted\n");
        place.run(&["backend", "add", WEB6, node]).ok();
        let dump = place.run(&["dump"]).ok();
        assert!(dump.contains("{ addr = \"[2001:db8::2]:80\", weight = 1 }"));
    }
    let place = both();
    place
        .run(&["service", "set", WEB6, "--timeout-syn", "5"])
        .ok();
    place.run(&["service", "del", WEB6]).ok();
    assert_eq!(place.kernel.with(|state| state.entries.len()), 1);
}

#[test]
fn routes_are_listed_and_filtered() {
    let place = with_routes();
    let list = place.run(&["route", "list"]).ok();
    lined_up(&list, &["CLIENT", "BACKEND", "STATE"]);
    let words: Vec<&str> = list.lines().nth(2).unwrap().split_whitespace().collect();
    assert_eq!(
        words[..4],
        [WEB6, "[2001:db8:ffff::1]:40000", A6, "established"]
    );
    let json = place.run(&["route", "list", "--json"]).json();
    assert_eq!(json["routes"][1]["client"], "[2001:db8:ffff::1]:40000");

    let count = |filter: &[&str]| {
        let arguments = [&["route", "list", "--json"], filter].concat();
        place.run(&arguments).json()["count"].as_u64().unwrap()
    };
    assert_eq!(count(&["--service", WEB6]), 2);
    assert_eq!(count(&["--service", "tcp/[2001:DB8::10]:http"]), 2);
    assert_eq!(count(&["--backend", "2001:db8::2"]), 1);
    assert_eq!(count(&["--backend", "[2001:db8::2]"]), 1);
    assert_eq!(count(&["--backend", A6]), 1);
    assert_eq!(count(&["--backend", "10.1.0.2", "--service", WEB]), 1);
    let flushed = place
        .run(&["route", "flush", "--backend", "fd00:1:2:3:4:5:6:7"])
        .ok();
    assert_eq!(flushed, "1 route deleted\n");
    let failed = place.run(&["backend", "fail", "2001:db8::2"]).ok();
    assert_eq!(failed, "1 route deleted\n");
}

#[test]
fn changes_are_told_in_canonical_form() {
    let place = Place::new();
    let file = "[[services]]\nkey = \"udp/[2001:DB8:0:0::10]:53\"\n\
                backends = [{ addr = \"[2001:db8:0::2]:53\" }]";
    let done = place.pipe(&["apply", "-f", "-"], file).ok();
    assert!(
        done.starts_with(
            "service add udp/[2001:db8::10]:53 scheduler wrr\n\
             backend add udp/[2001:db8::10]:53 [2001:db8::2]:53 weight 1\n"
        ),
        "{done}"
    );
    assert_eq!(
        place.pipe(&["apply", "-f", "-"], file).ok(),
        "nothing to do\n"
    );
    let failed = place
        .run(&["backend", "fail", "2001:db8:0:0::2", "--json"])
        .json();
    assert_eq!(failed["changes"][0]["backend"], "2001:db8::2");
    assert_eq!(failed["changes"][0]["text"], "backend fail 2001:db8::2");
}

#[test]
fn mistakes_name_the_thing_and_the_rule() {
    let place = both();
    let before = place.run(&["dump"]).ok();
    let add = ["backend", "add", WEB6];
    let list = ["route", "list", "--backend"];
    for (command, argument, exit, message) in [
        (
            &["service", "add"][..],
            "tcp/2001:db8::20:80",
            Exit::BadInput,
            "\"tcp/2001:db8::20:80\": an IPv6 address with a port is written in brackets",
        ),
        (
            &["service", "add"],
            "tcp/[2001:db8::20:80",
            Exit::BadInput,
            "\"[2001:db8::20:80\": brackets enclose an IPv6 address",
        ),
        (
            &["service", "add"],
            "tcp/[2001:db8::20]:nosuch",
            Exit::BadInput,
            "port \"nosuch\" is not in ",
        ),
        (
            &["service", "add"],
            "tcp/[fe80::1%eth0]:80",
            Exit::BadInput,
            "\"[fe80::1%eth0]:80\": an address with a zone (%) is valid on one link alone",
        ),
        (
            &["service", "add"],
            "tcp/[fe80::1]:80",
            Exit::Refused,
            "service tcp/[fe80::1]:80: fe80::1 is a link-local address (fe80::/10)",
        ),
        (
            &["service", "add"],
            "tcp/[::ffff:10.0.0.100]:80",
            Exit::Refused,
            "service tcp/[::ffff:10.0.0.100]:80: ::ffff:10.0.0.100 is an IPv4 address mapped",
        ),
        (
            &add,
            "2001:db8::2:8080",
            Exit::BadInput,
            "\"2001:db8::2:8080\" may be one address, or an address and port 8080; write \
             [2001:db8::2:8080] or [2001:db8::2]:8080",
        ),
        (
            &add,
            "2001:db8::2:http",
            Exit::BadInput,
            "\"2001:db8::2:http\": an IPv6 address with a port is written in brackets",
        ),
        (
            &add,
            "2001:db8::3%eth1",
            Exit::BadInput,
            "an address with a zone (%)",
        ),
        (
            &add,
            "[2001:db8::3]:0",
            Exit::BadInput,
            "\"0\" is not a port",
        ),
        (
            &add,
            "[2001:db8::3]:65536",
            Exit::BadInput,
            "\"65536\" is not a port (1 to 65535)",
        ),
        (
            &add,
            "10.1.0.2",
            Exit::Refused,
            "backend 10.1.0.2:80 of tcp/[2001:db8::10]:80: its address is IPv4 and the service's \
             IPv6, both have to be of one family",
        ),
        (
            &["backend", "add", WEB],
            "2001:db8::2",
            Exit::Refused,
            "backend [2001:db8::2]:80 of tcp/10.0.0.100:80: its address is IPv6 and the service's",
        ),
        (
            &add,
            "2001:db8::10",
            Exit::Refused,
            "backend [2001:db8::10]:80 of tcp/[2001:db8::10]:80: its address is the VIP",
        ),
        (&add, "::1", Exit::Refused, "::1 is the loopback address"),
        (
            &add,
            "ff02::1",
            Exit::Refused,
            "ff02::1 is a multicast address",
        ),
        (&add, "::", Exit::Refused, ":: is the unspecified address"),
        (
            &add,
            A6,
            Exit::AlreadyThere,
            "backend [2001:db8::2]:80 of tcp/[2001:db8::10]:80: it is there already",
        ),
        (
            &["backend", "fail"],
            "2001:db8::9",
            Exit::NotThere,
            "backend 2001:db8::9: no service has such a backend\n",
        ),
        (
            &["backend", "fail"],
            "2001:db8::2:80",
            Exit::NotThere,
            "backend 2001:db8::2:80: no service has such a backend (a port is written so: \
             [2001:db8::2]:80)",
        ),
        (
            &["backend", "fail"],
            "::ffff:10.1.0.2",
            Exit::Refused,
            "backend ::ffff:10.1.0.2: ::ffff:10.1.0.2 is an IPv4 address mapped into IPv6 \
             (::ffff:0:0/96), which no packet on a network has; write 10.1.0.2",
        ),
        (
            &list,
            "2001:db8::2:80",
            Exit::NotThere,
            "no service has such a backend (a port is written so: [2001:db8::2]:80)",
        ),
        (
            &["route", "flush", "--service"],
            "udp/[2001:db8::10]:80",
            Exit::NotThere,
            "service udp/[2001:db8::10]:80: there is no such service",
        ),
    ] {
        let arguments: Vec<&str> = command.iter().copied().chain([argument]).collect();
        let error = place.run(&arguments).error(exit);
        assert!(error.contains(message), "{arguments:?}: {error}");
    }
    assert_eq!(place.run(&["dump"]).ok(), before, "nothing has changed");
}

// SPDX-License-Identifier: GPL-2.0

//! `apply` and `dump`: files in and out.

mod common;

use common::{Place, A, WEB};
use fepctl::Exit;

const FILE: &str = r#"# two services
devices = ["eth0", "eth1"]
limit = 5000

[[services]]
key = "tcp/10.0.0.100:80"
scheduler = "wrr"
timeouts = { established = 60 }
backends = [
    { addr = "10.1.0.2:80", weight = 2 },
    { addr = "10.1.0.3:80" },
    { addr = "10.1.0.4:80", weight = 0, failed = true },
]

[[services]]
key = "udp/10.0.0.100:53"
"#;

#[test]
fn a_file_is_applied_in_one_commit() {
    let place = Place::new();
    let file = place.file("fep.toml", FILE);
    let dry = place.run(&["apply", "-f", &file, "--dry-run"]).ok();
    assert_eq!(place.kernel.commits(), 0);
    assert!(
        dry.ends_with("dry run: 9 changes would be applied, none was\n"),
        "{dry}"
    );
    let done = place.run(&["apply", "-f", &file]).ok();
    assert_eq!(place.kernel.commits(), 1);
    assert_eq!(
        done,
        "device attach eth0\n\
         device attach eth1\n\
         limit set 5000 (was 1048576)\n\
         service add tcp/10.0.0.100:80 scheduler wrr timeout-established 60\n\
         service add udp/10.0.0.100:53 scheduler wrr\n\
         backend add tcp/10.0.0.100:80 10.1.0.2:80 weight 2\n\
         backend add tcp/10.0.0.100:80 10.1.0.3:80 weight 1\n\
         backend add tcp/10.0.0.100:80 10.1.0.4:80 weight 0\n\
         backend fail 10.1.0.4:80 service tcp/10.0.0.100:80\n\
         9 changes applied, generation 2, 0 routes deleted\n"
    );
    assert_eq!(place.run(&["apply", "-f", &file]).ok(), "nothing to do\n");
    assert_eq!(place.kernel.commits(), 1);
}

#[test]
fn only_the_difference_is_applied() {
    let place = Place::with_web();
    let file = "services = [{ key = \"tcp/10.0.0.100:80\", backends = [\n\
                { addr = \"10.1.0.2:80\", weight = 5 }, { addr = \"10.1.0.9:80\" } ] }]";
    let done = place.pipe(&["apply", "-f", "-"], file).ok();
    assert_eq!(
        done,
        "backend set tcp/10.0.0.100:80 10.1.0.2:80 weight 5 (was 2)\n\
         backend add tcp/10.0.0.100:80 10.1.0.9:80 weight 1\n\
         backend del tcp/10.0.0.100:80 10.1.0.3:80\n\
         3 changes applied, generation 5, 0 routes deleted\n"
    );
}

#[test]
fn what_a_file_does_not_speak_of_stays() {
    let place = Place::with_web();
    place.run(&["device", "attach", "eth0"]).ok();
    place.run(&["backend", "fail", A]).ok();
    for file in ["", "# nothing\n", "{}", "limit = 1048576"] {
        assert_eq!(
            place.pipe(&["apply", "-f", "-"], file).ok(),
            "nothing to do\n"
        );
    }
    let same = "services = [{ key = \"tcp/10.0.0.100:80\", backends = [\n\
                { addr = \"10.1.0.2:80\", weight = 2 }, { addr = \"10.1.0.3:80\" } ] }]";
    assert_eq!(
        place.pipe(&["apply", "-f", "-"], same).ok(),
        "nothing to do\n"
    );
    let restored = same.replace("weight = 2", "weight = 2, failed = false");
    let done = place.pipe(&["apply", "-f", "-"], &restored).ok();
    assert!(done.starts_with("backend restore 10.1.0.2:80 service tcp/10.0.0.100:80\n"));
    let none = place
        .pipe(&["apply", "-f", "-"], "services = []\ndevices = []")
        .ok();
    assert!(
        none.starts_with("service del tcp/10.0.0.100:80\ndevice detach eth0\n"),
        "{none}"
    );
}

#[test]
fn a_dump_changes_nothing() {
    let place = Place::new();
    let file = place.file("fep.toml", FILE);
    place.run(&["apply", "-f", &file]).ok();
    for format in [&["dump"][..], &["dump", "--json"]] {
        let dump = place.run(format).ok();
        assert_eq!(
            place.pipe(&["apply", "-f", "-"], &dump).ok(),
            "nothing to do\n"
        );
        let other = Place::new();
        other.pipe(&["apply", "-f", "-"], &dump).ok();
        assert_eq!(
            other.run(format).ok(),
            dump,
            "a dump makes an equal configuration elsewhere"
        );
    }
    let empty = Place::new();
    let dump = empty.run(&["dump"]).ok();
    assert!(
        dump.contains("devices = []") && dump.contains("services = []"),
        "{dump}"
    );
    assert_eq!(
        empty.pipe(&["apply", "-f", "-"], &dump).ok(),
        "nothing to do\n"
    );
}

#[test]
fn a_byte_order_mark_means_nothing() {
    let place = Place::new();
    for text in ["{\"limit\":5000}", "limit = 5001"] {
        let changes = place.pipe(&["apply", "-f", "-"], &format!("\u{feff}{text}"));
        assert!(changes.ok().starts_with("limit set 500"), "{text}");
    }
    for text in ["{\"x\":1}", " x = 1"] {
        let error = place.pipe(&["apply", "-f", "-"], &format!("\u{feff}{text}"));
        let error = error.error(Exit::BadInput);
        assert!(error.contains(":1:2: unknown field `x`"), "{error}");
    }
}

#[test]
fn mistakes_in_a_file_have_a_place() {
    let place = Place::with_web();
    let before = place.run(&["dump"]).ok();
    for (text, at, message) in [
        ("limit = \n", "1:9", "string values must be quoted"),
        ("a = 1\na = 2\n", "2:1", "duplicate key"),
        ("limits = 5\n", "1:1", "unknown field `limits`, expected one of"),
        ("limit = -1\n", "1:9", "invalid value: integer `-1`, expected u32"),
        ("limit = \"5\"\n", "1:9", "invalid type: string \"5\", expected u32"),
        ("limit = 1979-05-27\n", "1:9", "a date means nothing here"),
        ("devices = \"eth0\"\n", "1:11", "expected a sequence"),
        ("devices = [\"eth0\",\n  \"eth0\"]\n", "2:3", "device eth0 is listed twice"),
        ("devices = [\"abcdefghijklmnop\"]\n", "1:12", "is longer than 15 bytes"),
        ("[[services]]\nscheduler = \"wrr\"\n", "1:1", "missing field `key`"),
        ("[[services]]\nkey = \"tcp/10.0.0.1\"\n", "2:7", "\"tcp/10.0.0.1\" has no port"),
        ("[[services]]\nkey = \"tcp/10.0.0.1:http\"\n", "2:7", "is a port name; a number is needed"),
        ("[[services]]\nkey = \"tcp/10.0.0.1:80\"\nscheduler = \"lc\"\n", "3:13", "a scheduler"),
        (
            "[[services]]\nkey = \"tcp/10.0.0.1:80\"\n[[services]]\nkey = \"tcp/10.0.0.1:80\"\n",
            "3:1",
            "service tcp/10.0.0.1:80 is listed twice",
        ),
        (
            "[[services]]\nkey = \"tcp/10.0.0.1:80\"\nbackends = [\n  { addr = \"10.1.0.2:80\" },\n  \
             { addr = \"10.1.0.2:80\", weight = 3 },\n]\n",
            "5:3",
            "backend 10.1.0.2:80 of tcp/10.0.0.1:80 is listed twice",
        ),
        (
            "[[services]]\nkey = \"tcp/10.0.0.1:80\"\nbackends = [{ addr = \"10.1.0.2:80\", wieght = 1 }]",
            "3:37",
            "unknown field `wieght`, expected one of `addr`, `weight`, `priority`, `method`, `failed`",
        ),
        (
            "{\"services\":[{\"key\":\"tcp/10.0.0.1:80\",\"backends\":[{\"addr\":\"10.1.0.2:80\",\"weight\":-1}]}]}",
            "1:82",
            "invalid value: integer `-1`, expected a weight from 0 to 65535",
        ),
        (
            "[[services]]\nkey = \"tcp/10.0.0.1:80\"\nbackends = [{ addr = \"10.1.0.2:80\", method = \"gre\" }]",
            "3:46",
            "no such method (there are nat and dr)",
        ),
        (
            "[[services]]\nkey = \"tcp/10.0.0.1:80\"\nbackends = [{ addr = \"10.1.0.2:80\", method = 1 }]",
            "3:46",
            "invalid type: integer `1`, expected a method: \"nat\" or \"dr\"",
        ),
        (
            "[[services]]\nkey = \"tcp/2001:db8::10:80\"\n",
            "2:7",
            "\"tcp/2001:db8::10:80\": an IPv6 address with a port is written in brackets",
        ),
        (
            "[[services]]\nkey = \"tcp/[2001:db8::10]:80\"\nbackends = [{ addr = \"2001:db8::2:80\" }]",
            "3:22",
            "\"2001:db8::2:80\": an IPv6 address with a port is written in brackets",
        ),
        (
            "[[services]]\nkey = \"tcp/[2001:db8::10]:80\"\nbackends = [{ addr = \"[fe80::2%eth0]:80\" }]",
            "3:22",
            "an address with a zone (%)",
        ),
        (
            "[[services]]\nkey = \"tcp/[2001:db8::1]:80\"\n[[services]]\nkey = \"tcp/[2001:DB8:0::1]:80\"\n",
            "3:1",
            "service tcp/[2001:db8::1]:80 is listed twice",
        ),
        ("{\n  \"limit\": 5,\n}", "3:1", "key must be a string"),
        ("{ \"limit\": 5 } x", "1:16", "trailing characters"),
        ("{ \"limit\": true }", "1:12", "invalid type: boolean `true`, expected u32"),
        ("{ \"limit\": 1.5 }", "1:12", "expected u32"),
        ("{ \"x\": 1 }", "1:3", "unknown field `x`"),
        ("{ \"limit\": 5, \"limit\": 6 }", "1:15", "duplicate key `limit`"),
        ("{ \"services\": [\n { \"key\": \"tcp/10.0.0.x:80\" } ] }", "2:11", "not an IP address"),
        ("{", "1:1", "EOF while parsing an object"),
    ] {
        let file = place.file("bad", text);
        let error = place.run(&["apply", "-f", &file]).error(Exit::BadInput);
        let start = format!("fepctl: {file}:{at}: ");
        assert!(error.starts_with(&start) && error.contains(message), "{text:?}: {error}");
        let piped = place.pipe(&["apply", "-f", "-"], text).error(Exit::BadInput);
        assert!(piped.starts_with(&format!("fepctl: standard input:{at}: ")), "{piped}");
    }
    assert_eq!(place.run(&["dump"]).ok(), before);
}

#[test]
fn rules_of_the_kernel_have_a_place_too() {
    let place = Place::with_web();
    let commits = place.kernel.commits();
    for (text, at, exit, message) in [
        (
            "[[services]]\nkey = \"tcp/10.0.0.100:80\"\nbackends = [\n  { addr = \"10.1.0.2:80\", \
             weight = 70000 },\n]\n",
            "4:36",
            Exit::Refused,
            "backend 10.1.0.2:80 of tcp/10.0.0.100:80: weight 70000 is above the limit 65535",
        ),
        (
            "limit = 5\n\n[[services]]\nkey = \"tcp/127.0.0.1:80\"\n",
            "4:7",
            Exit::Refused,
            "service tcp/127.0.0.1:80: 127.0.0.1 is a loopback address (127.0.0.0/8)",
        ),
        (
            "[[services]]\nkey = \"tcp/10.0.0.5:80\"\ntimeouts={syn=900000}\n",
            "3:15",
            Exit::Refused,
            "service tcp/10.0.0.5:80: timeout syn of 900000 s is above the limit",
        ),
        (
            "[[services]]\nkey = \"tcp/10.0.0.100:80\"\nbackends = [{ addr = \"224.0.0.1:80\" }]",
            "3:22",
            Exit::Refused,
            "backend 224.0.0.1:80 of tcp/10.0.0.100:80: 224.0.0.1 is a multicast address",
        ),
        (
            "limit = 0",
            "1:9",
            Exit::Refused,
            "limit: 0 routes is not within",
        ),
        (
            "devices = [\"eth0\", \"eth9\"]",
            "1:20",
            Exit::NotThere,
            "device eth9: there is no such",
        ),
        (
            "{ \"services\": [ { \"key\": \"tcp/[fe80::1]:80\" } ] }",
            "1:26",
            Exit::Refused,
            "service tcp/[fe80::1]:80: fe80::1 is a link-local address (fe80::/10)",
        ),
        (
            "[[services]]\nkey = \"tcp/[2001:db8::10]:80\"\nbackends = [{ addr = \"10.1.0.2:80\" }]",
            "3:22",
            Exit::Refused,
            "backend 10.1.0.2:80 of tcp/[2001:db8::10]:80: its address is IPv4",
        ),
        (
            "[[services]]\nkey = \"tcp/10.0.0.100:80\"\n\
             backends = [{ method = \"dr\", addr = \"10.1.0.9:81\" }]",
            "3:37",
            Exit::Refused,
            "backend 10.1.0.9:81 of tcp/10.0.0.100:80: method dr leaves ports as they are",
        ),
        (
            "[[services]]\nkey = \"tcp/10.0.0.100:80\"\n\
             backends = [{ addr = \"10.1.0.9:80\", method = \"7\" }]",
            "3:46",
            Exit::Refused,
            "backend 10.1.0.9:80 of tcp/10.0.0.100:80: the module does not know the method 7",
        ),
    ] {
        for dry in [&["--dry-run"][..], &[]] {
            let file = place.file("bad", text);
            let arguments: Vec<&str> = ["apply", "-f", &file].iter().chain(dry).copied().collect();
            let error = place.run(&arguments).error(exit);
            let start = format!("fepctl: {file}:{at}: {message}");
            assert!(error.starts_with(&start), "{text:?}: {error}");
        }
    }
    assert_eq!(place.kernel.commits(), commits);
    let json = place.pipe(&["apply", "-f", "-", "--json"], "limit = 0").err;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["error"]["reason"], "bad_limit");
    assert_eq!(json["error"]["file"], "standard input");
    assert_eq!(
        (&json["error"]["line"], &json["error"]["column"]),
        (&1.into(), &9.into())
    );
}

#[test]
fn files_that_cannot_be_read() {
    let place = Place::with_web();
    let missing = place
        .run(&["apply", "-f", "/nonexistent/fep.toml"])
        .error(Exit::BadInput);
    assert!(
        missing.starts_with("fepctl: /nonexistent/fep.toml: No such file"),
        "{missing}"
    );
    let directory = place.directory.path().to_str().unwrap().to_owned();
    let error = place
        .run(&["apply", "-f", &directory])
        .error(Exit::BadInput);
    assert!(error.contains("Is a directory"), "{error}");
    let file = place.file("latin1", b"# \xe9\n");
    let error = place.run(&["apply", "-f", &file]).error(Exit::BadInput);
    assert!(error.contains("not UTF-8 text (byte 2)"), "{error}");
    let deep = "[".repeat(100_000);
    for text in [format!("{{\"x\":{deep}"), format!("x = {deep}")] {
        place
            .pipe(&["apply", "-f", "-"], &text)
            .error(Exit::BadInput);
    }
}

#[test]
fn a_change_in_between_is_noticed() {
    let place = Place::with_web();
    place.kernel.interfere(1);
    let done = place.pipe(&["apply", "-f", "-"], "limit = 7").ok();
    assert!(done.contains("limit set 7"), "{done}");
    place.kernel.interfere(100);
    let error = place
        .pipe(&["apply", "-f", "-"], "limit = 8")
        .error(Exit::Refused);
    assert!(
        error.contains("something else is changing it, nothing was applied"),
        "{error}"
    );
    assert_eq!(place.kernel.with(|state| state.limit), 7);
}

#[test]
fn applying_tells_programs_what_it_did() {
    let place = Place::with_web();
    let done = place
        .pipe(
            &["apply", "-f", "-", "--dry-run", "--json"],
            "services = []",
        )
        .json();
    assert_eq!(done["dry_run"], true);
    assert_eq!(done["changes"][0]["action"], "service_del");
    assert_eq!(done["changes"][0]["service"], WEB);
    let done = place.pipe(&["apply", "-f", "-", "--json"], "").json();
    assert_eq!(done["changes"], serde_json::json!([]));
}

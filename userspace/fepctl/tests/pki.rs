// SPDX-License-Identifier: GPL-2.0

//! `fepctl pki`: what is made is what the link takes, and nothing is overwritten.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use common::Place;
use fep_protocol::Identity;
use fepctl::Exit;

fn path(place: &Place, name: &str) -> String {
    place.directory.path().join(name).display().to_string()
}

#[test]
fn the_link_takes_what_is_issued() {
    let place = Place::new();
    let dir = path(&place, "etc/pki");
    assert_eq!(place.run(&["pki", "init", &dir]).ok(), "");
    assert_eq!(place.run(&["pki", "issue", &dir, "Node-1"]).ok(), "");
    let file = |name: &str| place.directory.path().join("etc/pki").join(name);
    let identity = Identity::load(&file("ca.pem"), &file("node-1.pem"), &file("node-1.key"));
    assert_eq!(identity.expect("an identity").names(), ["node-1"]);
    let wrong = Identity::load(&file("ca.pem"), &file("node-1.pem"), &file("ca.key"));
    assert!(wrong.is_err());
    for (name, mode) in [("ca.key", 0o600), ("node-1.key", 0o600)] {
        let found = fs::metadata(file(name)).expect("a file").permissions();
        assert_eq!(found.mode() & 0o777, mode, "{name}");
    }
}

#[test]
fn nothing_is_overwritten_or_left_half_made() {
    let place = Place::new();
    let dir = path(&place, "pki");
    place.run(&["pki", "init", &dir]).ok();
    place.run(&["pki", "issue", &dir, "a"]).ok();
    let read = |name: &str| fs::read(place.directory.path().join("pki").join(name)).expect("it");
    let before: Vec<_> = ["ca.pem", "ca.key", "a.pem", "a.key"].map(read).into();
    let error = place.run(&["pki", "init", &dir]).error(Exit::AlreadyThere);
    assert!(error.contains("not overwritten"), "{error}");
    place
        .run(&["pki", "issue", &dir, "a"])
        .error(Exit::AlreadyThere);
    let after: Vec<_> = ["ca.pem", "ca.key", "a.pem", "a.key"].map(read).into();
    assert_eq!(before, after);

    fs::write(place.directory.path().join("pki/b.pem"), "mine").expect("a file");
    place
        .run(&["pki", "issue", &dir, "b"])
        .error(Exit::AlreadyThere);
    assert!(!place.directory.path().join("pki/b.key").exists());
    assert_eq!(read("b.pem"), b"mine");
}

#[test]
fn what_is_there_is_shown() {
    let place = Place::new();
    let dir = path(&place, "pki");
    place.run(&["pki", "init", &dir, "--days", "100"]).ok();
    place.run(&["pki", "issue", &dir, "a", "--days", "50"]).ok();
    let (ca, a) = (path(&place, "pki/ca.pem"), path(&place, "pki/a.pem"));
    let text = place.run(&["pki", "show", &ca, &a]).ok();
    assert!(
        text.contains(&format!("{ca}: authority, ends on 2")),
        "{text}"
    );
    assert!(text.contains(&format!("{a}: a, ends on 2")), "{text}");
    let json = place.run(&["--json", "pki", "show", &a]).json();
    assert_eq!(json[0]["names"], serde_json::json!(["a"]));
    assert_eq!(json[0]["expired"], false);
    // The last day has begun.
    assert_eq!(json[0]["days_left"], 49);
}

#[test]
fn mistakes_are_named() {
    let place = Place::new();
    let dir = path(&place, "pki");
    let error = place
        .run(&["pki", "issue", &dir, "a"])
        .error(Exit::BadInput);
    assert!(error.contains("pki/ca.key: No such file"), "{error}");
    place.run(&["pki", "init", &dir, "--days", "10"]).ok();
    let error = place
        .run(&["pki", "issue", &dir, "a"])
        .error(Exit::BadInput);
    assert!(error.contains("the authority ends on"), "{error}");
    place
        .run(&["pki", "issue", &dir, "../a"])
        .error(Exit::BadInput);
    place
        .run(&["pki", "issue", &dir, "ca"])
        .error(Exit::BadInput);
    let key = path(&place, "pki/ca.key");
    let error = place.run(&["pki", "show", &key]).error(Exit::BadInput);
    assert!(error.contains("no certificate in PEM"), "{error}");

    let other = path(&place, "other");
    place.run(&["pki", "init", &other]).ok();
    fs::copy(&key, path(&place, "other/ca.key")).expect("a copy");
    let error = place
        .run(&["pki", "issue", &other, "a"])
        .error(Exit::BadInput);
    assert!(error.contains("not the key of ca.pem"), "{error}");
}

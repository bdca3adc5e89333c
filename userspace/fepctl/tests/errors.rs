// SPDX-License-Identifier: GPL-2.0

//! Each mistake names the thing and the rule, has its exit code, and changes nothing.

mod common;

use std::path::Path;

use common::{Place, A, WEB};
use fep_client::{Device, Error, Kernel};
use fepctl::Exit;

/// Runs a command that fails, and makes sure that nothing has changed.
#[track_caller]
fn refused(place: &Place, arguments: &[&str], exit: Exit, message: &str) {
    let before = place.run(&["dump"]).ok();
    let error = place.run(arguments).error(exit);
    assert!(error.contains(message), "{arguments:?}: {error}");
    assert_eq!(
        place.run(&["dump"]).ok(),
        before,
        "{arguments:?} changed something"
    );
    // The same for programs.
    let all: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
    let ended = place.run(&all);
    assert_eq!(
        (ended.exit, ended.out.as_str()),
        (exit, ""),
        "{arguments:?}"
    );
    let json: serde_json::Value = serde_json::from_str(&ended.err).expect("JSON");
    assert_eq!(json["error"]["code"], exit.code());
    let said = json["error"]["message"].as_str().unwrap();
    assert!(said.contains(message), "{arguments:?}: {said}");
    assert!(json["error"]["reason"].is_string());
}

#[test]
fn what_the_command_line_gets_wrong() {
    let place = Place::with_web();
    for (arguments, message) in [
        (
            &["service", "add", "tcp/10.0.0.256:80"][..],
            "\"10.0.0.256\" is not an IP address",
        ),
        (
            &["service", "add", "10.0.0.1:80"],
            "does not begin with tcp/ or udp/",
        ),
        (
            &["service", "add", "sctp/10.0.0.1:80"],
            "unknown protocol \"sctp\"",
        ),
        (&["service", "add", "tcp/10.0.0.1"], "has no port"),
        (
            &["service", "add", "tcp/10.0.0.1:0"],
            "\"0\" is not a port (1 to 65535)",
        ),
        (
            &["service", "add", "tcp/10.0.0.1:nosuch"],
            "port \"nosuch\" is not in ",
        ),
        (
            &["service", "add", "udp/10.0.0.1:http"],
            "for udp; give a number",
        ),
        (
            &["service", "add", WEB, "--scheduler", "lc"],
            "no such scheduler (there is wrr, optimal, steer)",
        ),
        (
            &["service", "add", WEB, "--timeout-syn", "-1"],
            "not a whole number from 0",
        ),
        (&["service", "set", WEB], "nothing to set"),
        (&["backend", "set", WEB, A], "--weight <N>"),
        (
            &["backend", "add", WEB, "10.1.0.x"],
            "\"10.1.0.x\" is not an IP address",
        ),
        (
            &["backend", "add", WEB, "10.1.0.4:0"],
            "\"0\" is not a port",
        ),
        (
            &["backend", "add", WEB, "10.1.0.4", "--weight", "-1"],
            "from 0 to 65535",
        ),
        (
            &["backend", "add", WEB, "10.1.0.4", "--weight", "1.5"],
            "from 0 to 65535",
        ),
        (
            &["backend", "add", WEB, "10.1.0.4", "--weight", "4294967296"],
            "from 0 to 65535",
        ),
        (
            &["backend", "add", WEB],
            "required arguments were not provided",
        ),
        (
            &["backend", "fail", "10.1.0.2:split"],
            "means 1 for tcp and 2 for udp",
        ),
        (&["backend", "fail", "10.1.0.2:nosuch"], "is not in"),
        (
            &["device", "attach", "abcdefghijklmnop"],
            "is longer than 15 bytes",
        ),
        (&["device", "attach", ""], "is not empty"),
        (&["limit", "set", "many"], "not a whole number"),
        (
            &["stats", "--watch", "0"],
            "not within 0.01 to 86400 seconds",
        ),
        (&["stats", "--count", "3"], "--watch"),
        (&["nonsense"], "unrecognized subcommand 'nonsense'"),
        (&["service"], "Usage: fepctl service"),
        (&[], "Usage: fepctl"),
        (&["apply"], "--file <FILE>"),
        (&["status", "extra"], "unexpected argument 'extra'"),
    ] {
        refused(&place, arguments, Exit::BadInput, message);
    }
}

#[test]
fn rules_of_the_kernel() {
    let place = Place::with_web();
    for (arguments, message) in [
        (
            &["backend", "add", WEB, "10.1.0.4", "--weight", "70000"][..],
            "fepctl: backend 10.1.0.4:80 of tcp/10.0.0.100:80: weight 70000 is above the limit 65535\n",
        ),
        (
            &["backend", "set", WEB, A, "--weight", "65536"],
            "fepctl: backend 10.1.0.2:80 of tcp/10.0.0.100:80: weight 65536 is above the limit 65535\n",
        ),
        (
            &["backend", "add", WEB, "10.0.0.100:80"],
            "backend 10.0.0.100:80 of tcp/10.0.0.100:80: its address is the VIP of a service",
        ),
        (
            &["backend", "add", WEB, "224.0.0.1"],
            "backend 224.0.0.1:80 of tcp/10.0.0.100:80: 224.0.0.1 is a multicast address (224.0.0.0/4)",
        ),
        (
            &["service", "add", "tcp/255.255.255.255:80"],
            "service tcp/255.255.255.255:80: 255.255.255.255 is the broadcast address",
        ),
        (
            &["service", "set", WEB, "--timeout-udp", "864001"],
            "service tcp/10.0.0.100:80: timeout udp of 864001 s is above the limit 864000 s",
        ),
        (&["limit", "set", "0"], "limit: 0 routes is not within 1 to 134217728"),
        (&["device", "attach", "lo"], "device lo: it cannot be attached (loopback"),
        (&["device", "attach", "a b"], "device a b: no device can have such a name"),
    ] {
        let text = message.trim_start_matches("fepctl: ").trim_end();
        refused(&place, arguments, Exit::Refused, text);
        assert!(place.run(arguments).err.contains(message));
    }
}

#[test]
fn what_is_not_there() {
    let place = Place::with_web();
    let other = "tcp/10.0.0.100:81";
    for (arguments, message) in [
        (
            &["service", "del", other][..],
            "service tcp/10.0.0.100:81: there is no such service",
        ),
        (
            &["service", "set", other, "--timeout-syn", "1"],
            "there is no such service",
        ),
        (
            &["backend", "add", other, "10.1.0.4"],
            "service tcp/10.0.0.100:81: there is no such",
        ),
        (
            &["backend", "set", WEB, "10.1.0.9", "--weight", "1"],
            "backend 10.1.0.9:80 of tcp/10.0.0.100:80: there is",
        ),
        (
            &["backend", "del", WEB, "10.1.0.9"],
            "there is no such backend",
        ),
        (
            &["backend", "fail", "10.1.0.9"],
            "backend 10.1.0.9: no service has such a backend",
        ),
        (
            &["backend", "restore", "10.1.0.9:80"],
            "backend 10.1.0.9:80: no service has such",
        ),
        (
            &["backend", "fail", A, "--service", other],
            "service tcp/10.0.0.100:81: there is no",
        ),
        (
            &["device", "attach", "eth9"],
            "device eth9: there is no such device in this network",
        ),
        (
            &["device", "detach", "eth0"],
            "device eth0: it is not attached",
        ),
        (
            &["route", "list", "--service", other],
            "service tcp/10.0.0.100:81: there is no such",
        ),
        (
            &["route", "list", "--backend", "10.1.0.9"],
            "backend 10.1.0.9: no service has such",
        ),
        (
            &[
                "route",
                "flush",
                "--backend",
                "10.1.0.9:80",
                "--service",
                WEB,
            ],
            "backend 10.1.0.9:80 of tcp/10.0.0.100:80: there is no such backend",
        ),
    ] {
        refused(&place, arguments, Exit::NotThere, message);
    }
}

#[test]
fn what_is_there_already() {
    let place = Place::with_web();
    place.run(&["device", "attach", "eth0"]).ok();
    for (arguments, message) in [
        (
            &["service", "add", WEB][..],
            "service tcp/10.0.0.100:80: it is there already",
        ),
        (
            &["backend", "add", WEB, A],
            "backend 10.1.0.2:80 of tcp/10.0.0.100:80: it is there",
        ),
        (
            &["device", "attach", "eth0"],
            "device eth0: it is attached already",
        ),
    ] {
        refused(&place, arguments, Exit::AlreadyThere, message);
    }
}

#[test]
fn without_privilege() {
    let place = Place::with_web();
    place.kernel.take_privilege();
    let list = place.run(&["route", "list", "--json"]);
    assert_eq!(
        (list.exit, list.out.as_str()),
        (Exit::NotPermitted, ""),
        "not the half of a list"
    );
    for arguments in [
        &["service", "del", WEB][..],
        &["route", "list"],
        &["route", "flush"],
        &["status"],
        &["flush"],
    ] {
        let error = place.run(arguments).error(Exit::NotPermitted);
        assert!(
            error.contains("needs CAP_NET_ADMIN in this network namespace"),
            "{error}"
        );
    }
}

#[test]
fn without_a_module() {
    let place = Place::new();
    let missing = place.directory.path().join("fep");
    let path = missing.clone();
    let open =
        move |_: &Path| -> Result<Box<dyn Kernel>, Error> { Ok(Box::new(Device::open_at(&path)?)) };
    let error = place.run_closed(&["status"], &open).error(Exit::NotLoaded);
    assert_eq!(
        error,
        format!(
            "fepctl: {}: no such device; is the module loaded? (modprobe fep)\n",
            missing.display()
        )
    );
}

#[test]
fn with_another_device() {
    let place = Place::new();
    let open =
        |path: &Path| -> Result<Box<dyn Kernel>, Error> { Ok(Box::new(Device::open_at(path)?)) };
    let error = place.run_closed(&["--device", "/dev/null", "status"], &open);
    let error = error.error(Exit::Internal);
    assert!(error.contains("the module speaks another ABI"), "{error}");
    let file = place.file("plain", "");
    let error = place.run_closed(&["--device", &file, "status"], &open);
    assert!(error
        .error(Exit::BadInput)
        .contains("not a character device"));
}

#[test]
fn with_a_module_of_another_version() {
    let place = Place::new();
    place.kernel.with(|state| state.abi = (2, 3));
    let error = place.run(&["status"]).error(Exit::Internal);
    assert!(
        error.contains("the module speaks ABI 2.3, this program speaks ABI 1.2"),
        "{error}"
    );
    // A higher minor version keeps what was there.
    place.kernel.with(|state| state.abi = (1, 9));
    place.run(&["status"]).ok();
}

#[test]
fn without_a_services_file() {
    let place = Place::new();
    let kernel = place.kernel.clone();
    let open = move |_: &Path| Ok(Box::new(kernel.clone()) as Box<dyn Kernel>);
    let ended = place.run_closed(&["service", "add", "tcp/10.0.0.100:http"], &open);
    let error = ended.error(Exit::BadInput);
    assert!(
        error.contains("port \"http\" cannot be looked up in /nonexistent/services: No such file"),
        "{error}"
    );
    assert!(error.contains("give a number"), "{error}");
    place
        .run_closed(&["service", "add", "tcp/10.0.0.100:80"], &open)
        .ok();
}

#[test]
fn what_a_terminal_acts_upon_is_not_repeated() {
    let place = Place::new();
    for name in ["\u{1b}[2J", "a\u{7}b", "x\u{9b}31my"] {
        for arguments in [
            vec!["device", "attach", name],
            vec!["service", "add", name],
            vec![name],
            vec!["apply", "-f", name],
        ] {
            let error = place.run(&arguments).err;
            let bad = |character: char| character.is_control() && character != '\n';
            assert!(!error.contains(bad), "{error:?}");
        }
    }
}

#[test]
fn a_configuration_that_keeps_changing_is_given_up() {
    let place = Place::with_web();
    place.kernel.interfere(2);
    place.run(&["flush"]).ok();
    place.run(&["service", "add", WEB]).ok();
    place.kernel.interfere(100);
    let error = place.run(&["flush"]).error(Exit::Refused);
    assert!(
        error.contains("the configuration changed 4 times"),
        "{error}"
    );
    assert_eq!(place.kernel.with(|state| state.entries.len()), 1);
}

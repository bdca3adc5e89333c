// SPDX-License-Identifier: GPL-2.0

//! Every reason becomes a sentence about the change that broke it.

use fep_client::{Change, Client, Error, Method, Refusal, Weight};
use fep_fake::FakeKernel;
use fep_uapi::{Reason, ABI_MAJOR, ABI_MINOR};

fn add() -> Change {
    Change::BackendAdd {
        service: "tcp/10.0.0.100:80".parse().unwrap(),
        backend: "10.1.0.2:80".parse().unwrap(),
        weight: Weight(70_000),
        method: Method::NAT,
        was: None,
    }
}

/// The addition of a node that is right but for what is said of it.
fn added(service: &str, backend: &str, method: Method) -> Change {
    Change::BackendAdd {
        service: service.parse().unwrap(),
        backend: backend.parse().unwrap(),
        weight: Weight(1),
        method,
        was: None,
    }
}

fn refusal(code: u32, change: Option<Change>) -> Refusal {
    Refusal {
        reason: Reason::from_code(code),
        code,
        errno: 22,
        change,
        abi: (ABI_MAJOR, ABI_MINOR),
    }
}

#[test]
fn every_reason_names_the_thing() {
    for reason in Reason::ALL {
        let text = refusal(reason.code(), Some(add())).to_string();
        assert!(text.contains("tcp/10.0.0.100:80: "), "{reason:?}: {text}");
        let text = refusal(reason.code(), None).to_string();
        assert!(text.starts_with("the commit: "), "{reason:?}: {text}");
    }
}

#[test]
fn a_reason_of_a_newer_module_is_told_as_such() {
    let text = refusal(999, Some(add())).to_string();
    assert_eq!(
        text,
        "backend 10.1.0.2:80 of tcp/10.0.0.100:80: the module refused backend_add for a reason \
         that is newer than this program (code 999)"
    );
}

#[test]
fn the_change_that_failed_is_found_among_the_others() {
    let kernel = FakeKernel::new(&["eth0"]);
    let mut client = Client::connect(Box::new(kernel.clone())).unwrap();
    let attach = Change::DeviceAttach("eth0".parse().unwrap());
    let error = client.commit(vec![attach, add()], false, 0).unwrap_err();
    let Error::Refused(refusal) = error else {
        panic!("{error}");
    };
    assert_eq!(refusal.change, Some(add()));
    assert_eq!(refusal.reason, Some(Reason::WeightTooLarge));
    assert!(
        kernel.with(|state| state.attached.is_empty()),
        "all or nothing"
    );

    let error = client.commit(Vec::new(), false, 0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the commit: a commit has 1 to 65536 changes"
    );
}

/// What the kernel says to the addition of a node.
fn answer(service: &str, backend: &str, method: Method) -> String {
    let mut client = Client::connect(Box::new(FakeKernel::new(&[]))).unwrap();
    let change = added(service, backend, method);
    client
        .commit(vec![change], false, 0)
        .unwrap_err()
        .to_string()
}

#[test]
fn the_kind_of_an_address_is_named() {
    const V6: &str = "tcp/[2001:db8::10]:80";
    for (service, backend, text) in [
        (
            "tcp/10.0.0.100:80",
            "0.0.0.0:80",
            "backend 0.0.0.0:80 of tcp/10.0.0.100:80: 0.0.0.0 is within 0.0.0.0/8, which no host has",
        ),
        (
            V6,
            "[::]:80",
            "backend [::]:80 of tcp/[2001:db8::10]:80: :: is the unspecified address, which no host has",
        ),
        (
            V6,
            "[::1]:80",
            "backend [::1]:80 of tcp/[2001:db8::10]:80: ::1 is the loopback address, which no \
             packet on a network has",
        ),
        (
            V6,
            "[fe80::1]:80",
            "backend [fe80::1]:80 of tcp/[2001:db8::10]:80: fe80::1 is a link-local address \
             (fe80::/10), which is valid on one link alone and not forwarded",
        ),
        (
            V6,
            "[ff02::1]:80",
            "backend [ff02::1]:80 of tcp/[2001:db8::10]:80: ff02::1 is a multicast address \
             (ff00::/8), not that of one host",
        ),
        (
            V6,
            "[::ffff:10.1.0.2]:80",
            "backend [::ffff:10.1.0.2]:80 of tcp/[2001:db8::10]:80: ::ffff:10.1.0.2 is an IPv4 \
             address mapped into IPv6 (::ffff:0:0/96), which no packet on a network has; write \
             10.1.0.2",
        ),
        (
            "tcp/[fe80::1]:80",
            "[2001:db8::2]:80",
            "backend [2001:db8::2]:80 of tcp/[fe80::1]:80: fe80::1 is a link-local address \
             (fe80::/10), which is valid on one link alone and not forwarded",
        ),
    ] {
        assert_eq!(answer(service, backend, Method::NAT), text);
    }
}

#[test]
fn families_and_ports_that_do_not_match_are_named() {
    for (service, backend, text) in [
        (
            "tcp/[2001:db8::10]:80",
            "10.1.0.2:80",
            "backend 10.1.0.2:80 of tcp/[2001:db8::10]:80: its address is IPv4 and the service's \
             IPv6, both have to be of one family",
        ),
        (
            "udp/10.0.0.100:53",
            "[2001:db8::2]:53",
            "backend [2001:db8::2]:53 of udp/10.0.0.100:53: its address is IPv6 and the service's \
             IPv4, both have to be of one family",
        ),
        (
            "tcp/[2001:db8::10]:80",
            "[2001:db8::2]:8080",
            "backend [2001:db8::2]:8080 of tcp/[2001:db8::10]:80: method dr leaves ports as they \
             are, so this one has to be the service's, 80; and the backend has the VIP on a \
             loopback or dummy device, without answering ARP or neighbour discovery for it, and \
             replies to clients directly",
        ),
    ] {
        assert_eq!(answer(service, backend, Method::DR), text);
    }
}

#[test]
fn a_method_that_the_module_does_not_know_is_named() {
    let text = answer("tcp/10.0.0.100:80", "10.1.0.2:80", Method::from_code(7));
    assert_eq!(
        text,
        "backend 10.1.0.2:80 of tcp/10.0.0.100:80: the module does not know the method 7"
    );
}

#[test]
fn an_older_module_is_told_as_such() {
    const RELEASE: &str = "it speaks ABI 1.0, this program speaks ABI 1.2: use the fepctl and the \
                           fep.ko of one release";
    let kernel = FakeKernel::new(&[]);
    kernel.with(|state| state.abi = (1, 0));
    let mut client = Client::connect(Box::new(kernel)).unwrap();
    let mut refused = |change| {
        let error = client.commit(vec![change], false, 0).unwrap_err();
        let Error::Refused(refusal) = error else {
            panic!("{error}");
        };
        (refusal.reason_name(), refusal.keys(), refusal.to_string())
    };
    assert_eq!(
        refused(added("tcp/10.0.0.100:80", "10.1.0.2:80", Method::DR)),
        (
            "reserved_not_zero",
            vec!["method"],
            format!(
                "backend 10.1.0.2:80 of tcp/10.0.0.100:80: the module does not know the method dr; \
                 {RELEASE}"
            )
        )
    );
    assert_eq!(
        refused(added(
            "tcp/[2001:db8::10]:80",
            "[2001:db8::2]:80",
            Method::NAT
        )),
        (
            "family_unsupported",
            vec!["addr"],
            format!(
                "backend [2001:db8::2]:80 of tcp/[2001:db8::10]:80: the module does not do IPv6, or the \
                 host does not (ipv6.disable=1); {RELEASE}"
            )
        )
    );
    // What it knows it does.
    let service = "tcp/10.0.0.100:80".parse().unwrap();
    let add = Change::ServiceAdd {
        service,
        scheduler: fep_uapi::Scheduler::Wrr,
        timeouts: fep_client::Timeouts::default(),
    };
    let node = added("tcp/10.0.0.100:80", "10.1.0.2:80", Method::NAT);
    client.commit(vec![add, node], false, 0).unwrap();
}

// SPDX-License-Identifier: GPL-2.0

//! Every reason becomes a sentence about the change that broke it.

use fep_client::{Change, Client, Error, Refusal, Weight};
use fep_fake::FakeKernel;
use fep_uapi::Reason;

fn add() -> Change {
    Change::BackendAdd {
        service: "tcp/10.0.0.100:80".parse().unwrap(),
        backend: "10.1.0.2:80".parse().unwrap(),
        weight: Weight(70_000),
    }
}

fn refusal(code: u32, change: Option<Change>) -> Refusal {
    Refusal {
        reason: Reason::from_code(code),
        code,
        errno: 22,
        change,
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

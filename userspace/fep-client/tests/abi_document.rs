// SPDX-License-Identifier: GPL-2.0

//! `docs/abi.md` is true: its C declarations, compiled by a C compiler, and its tables agree with
//! what the module and this crate are compiled from.

use std::fmt::Write as _;
use std::mem::{offset_of, size_of};
use std::process::Command;

use fep_uapi::*;

const DOCUMENT: &str = include_str!("../../../docs/abi.md");

/// The C code of the document.
fn declarations() -> String {
    let blocks = DOCUMENT.split("```c\n").skip(1);
    let blocks = blocks.filter_map(|block| block.split("```").next());
    let code: String = blocks.collect();
    assert!(
        code.contains("struct fep_commit"),
        "docs/abi.md has lost its C code"
    );
    code
}

/// What C and Rust should agree on: an expression of C, and its value in Rust.
fn facts() -> Vec<(String, u64)> {
    let mut facts = Vec::new();
    let mut fact = |c: String, rust: usize| facts.push((c, u64::try_from(rust).unwrap()));
    macro_rules! structures {
        ($($rust:ident = $c:literal { $($field:ident)* })*) => {
            $(
                fact(format!("sizeof(struct {})", $c), size_of::<$rust>());
                let mut end = 0;
                $(
                    let field = stringify!($field);
                    let offset = offset_of!($rust, $field);
                    assert_eq!(offset, end, "{}: what is before {field} is not listed", $c);
                    end = offset + field_size(|of: &$rust| &of.$field);
                    fact(format!("offsetof(struct {}, {field})", $c), offset);
                    fact(format!("sizeof(((struct {} *)0)->{field})", $c), end - offset);
                )*
                assert_eq!(end, size_of::<$rust>(), "{}: not all fields are listed", $c);
            )*
        };
    }
    structures! {
        ServiceId = "fep_service_id" { family protocol port reserved address }
        Endpoint = "fep_endpoint" { family reserved0 port reserved1 address }
        Op = "fep_op" {
            kind flags service backend weight scheduler timeouts limit device method priority load
            reserved
        }
        Commit = "fep_commit" {
            ops count flags expect generation failed reason routes_deleted
        }
        Dump = "fep_dump" {
            object flags cursor buffer capacity count generation service backend reserved
        }
        FlushRoutes = "fep_flush_routes" { service backend reserved deleted }
        EndRoutes = "fep_end_routes" { routes count reserved0 deleted used gone reserved }
        Status = "fep_status" {
            abi_major abi_minor version generation routes routes_limit buckets services backends
            devices reserved0 counters visited reserved
        }
        Subscribe = "fep_subscribe" { capacity reserved next reserved1 }
        Event = "fep_event" {
            sequence kind lost generation service backend syn_unanswered syn_reset syn_repeated
        }
        Traffic = "fep_traffic" { connections packets_in packets_out bytes_in bytes_out }
        DeviceRecord = "fep_device_record" { ifindex reserved name }
        ServiceRecord = "fep_service_record" {
            service scheduler backends timeouts reserved routes traffic counters reserved1
        }
        BackendRecord = "fep_backend_record" {
            service backend weight state routes traffic method reserved
        }
        RouteRecord = "fep_route_record" {
            service client backend state idle_ms expires_ms reserved token
        }
        NodeRecord = "fep_node_record" {
            service backend weight state priority load routes connections syn_unanswered syn_reset
            syn_repeated reserved
        }
    }
    let mut number = |c: &str, rust: u32| facts.push((c.to_owned(), rust.into()));
    number("FEP_IOC_STATUS", IOC_STATUS);
    number("FEP_IOC_COMMIT", IOC_COMMIT);
    number("FEP_IOC_DUMP", IOC_DUMP);
    number("FEP_IOC_FLUSH_ROUTES", IOC_FLUSH_ROUTES);
    number("FEP_IOC_END_ROUTES", IOC_END_ROUTES);
    number("FEP_IOC_SUBSCRIBE", IOC_SUBSCRIBE);
    number("FEP_EVENTS_MAX", EVENTS_MAX);
    number("FEP_DUMP_TOKENS", DUMP_TOKENS);
    number("FEP_PRIORITY_MAX", PRIORITY_MAX);
    number("FEP_LOAD_MAX", LOAD_MAX);
    number("FEP_END_ROUTES_MAX", END_ROUTES_MAX);
    number("FEP_ABI_MAJOR", ABI_MAJOR);
    number("FEP_ABI_MINOR", ABI_MINOR);
    number("FEP_FLAG_DRY_RUN", FLAG_DRY_RUN);
    number("FEP_DUMP_END", DUMP_END);
    number("FEP_STATE_FAILED", STATE_FAILED);
    number("FEP_WEIGHT_MAX", WEIGHT_MAX);
    number("FEP_OPS_MAX", OPS_MAX);
    number("FEP_SERVICES_MAX", SERVICES_MAX);
    number("FEP_BACKENDS_MAX", BACKENDS_MAX);
    number("FEP_DEVICES_MAX", DEVICES_MAX);
    number("FEP_ROUTES_LIMIT_MIN", ROUTES_LIMIT_MIN);
    number("FEP_ROUTES_LIMIT_MAX", ROUTES_LIMIT_MAX);
    number("FEP_TIMEOUT_MAX", TIMEOUT_MAX);
    number("FEP_FAMILY_IPV4", FAMILY_IPV4.into());
    number("FEP_FAMILY_IPV6", FAMILY_IPV6.into());
    number("FEP_METHOD_NAT", Method::Nat.code());
    number("FEP_METHOD_DR", Method::Dr.code());
    facts
}

/// The size of a field.
fn field_size<T, F>(_: impl Fn(&T) -> &F) -> usize {
    size_of::<F>()
}

#[test]
fn its_declarations_are_those_of_the_module() {
    let facts = facts();
    let mut program = format!(
        "#include <stddef.h>\n#include <stdio.h>\n{}",
        declarations()
    );
    program.push_str("int main(void) {\n");
    for (expression, _) in &facts {
        writeln!(
            program,
            "printf(\"%llu\\n\", (unsigned long long)({expression}));"
        )
        .unwrap();
    }
    program.push_str("return 0; }\n");

    let directory = tempfile::tempdir().unwrap();
    let (source, binary) = (directory.path().join("abi.c"), directory.path().join("abi"));
    std::fs::write(&source, program).unwrap();
    let compiled = Command::new("cc")
        .args(["-Wall", "-Werror", "-o"])
        .args([&binary, &source])
        .status()
        .expect("a C compiler, which rustc needs as well");
    assert!(compiled.success());
    let output = Command::new(&binary).output().unwrap();
    let values = String::from_utf8(output.stdout).unwrap();
    let values: Vec<u64> = values.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(values.len(), facts.len());
    for ((expression, rust), c) in facts.iter().zip(values) {
        assert_eq!(
            c, *rust,
            "{expression} in docs/abi.md (left) is not what the module has"
        );
    }
}

#[test]
fn its_tables_list_every_code() {
    fn row(code: u32, name: &str) {
        let row = format!("| {code} | `{name}` |");
        assert!(DOCUMENT.contains(&row), "docs/abi.md lacks the row {row}");
    }
    Reason::ALL
        .iter()
        .for_each(|code| row(code.code(), code.name()));
    OpKind::ALL
        .iter()
        .for_each(|code| row(code.code(), code.name()));
    DumpObject::ALL
        .iter()
        .for_each(|code| row(code.code(), code.name()));
    Scheduler::ALL
        .iter()
        .for_each(|code| row(code.code(), code.name()));
    EventKind::ALL
        .iter()
        .for_each(|code| row(code.code(), code.name()));
    Method::ALL
        .iter()
        .for_each(|code| row(code.code(), code.name()));
    RouteState::ALL
        .iter()
        .for_each(|code| row(code.code(), code.name()));
    Counter::ALL
        .iter()
        .for_each(|code| row(code.code(), code.name()));
    for (at, default) in (0u32..).zip(TIMEOUT_DEFAULTS) {
        let row = format!("| {at} | {default} |");
        assert!(
            DOCUMENT.contains(&row),
            "docs/abi.md lacks the timeout {row}"
        );
    }
}

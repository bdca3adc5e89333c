// SPDX-License-Identifier: GPL-2.0

//! The program itself, where that is more than the library.

use std::process::{Command, Output, Stdio};

fn fepctl(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fepctl"))
        .args(arguments)
        .output()
        .expect("fepctl runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

#[test]
fn help_and_version_are_printed() {
    let version = fepctl(&["--version"]);
    assert_eq!(version.status.code(), Some(0));
    assert_eq!(
        text(&version.stdout),
        format!("fepctl {}\n", env!("CARGO_PKG_VERSION"))
    );
    for arguments in [
        &["--help"][..],
        &["backend", "add", "--help"],
        &["help", "apply"],
    ] {
        let help = fepctl(arguments);
        assert_eq!((help.status.code(), text(&help.stderr)), (Some(0), ""));
        assert!(text(&help.stdout).contains("Usage: fepctl"));
    }
    assert!(text(&fepctl(&["--help"]).stdout).contains("  6  the module is not loaded"));
}

#[test]
fn errors_go_to_standard_error() {
    let missing = fepctl(&["--device", "/nonexistent/fep", "status"]);
    assert_eq!(missing.status.code(), Some(6));
    assert_eq!(text(&missing.stdout), "");
    assert_eq!(
        text(&missing.stderr),
        "fepctl: /nonexistent/fep: no such device; is the module loaded? (modprobe fep)\n"
    );
    let usage = fepctl(&["--json", "nonsense"]);
    assert_eq!(usage.status.code(), Some(2));
    let error: serde_json::Value = serde_json::from_slice(&usage.stderr).expect("JSON");
    assert_eq!(error["error"]["reason"], "usage");
}

#[test]
fn a_pipe_that_is_closed_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_fepctl"))
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("fepctl runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("fepctl ends");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
}

#[test]
fn arguments_that_are_no_text_are_refused() {
    use std::os::unix::ffi::OsStrExt;
    let output = Command::new(env!("CARGO_BIN_EXE_fepctl"))
        .args(["device", "attach"])
        .arg(std::ffi::OsStr::from_bytes(b"\xff\x1b"))
        .output()
        .expect("fepctl runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(!output.stderr.contains(&0x1b));
}

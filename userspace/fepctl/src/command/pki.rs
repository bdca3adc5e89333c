// SPDX-License-Identifier: GPL-2.0

//! `fepctl pki`: a private authority and the certificates of nodes and front-ends.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData,
};
use serde_json::json;
use time::{Duration, OffsetDateTime};
use x509_parser::extensions::GeneralName;
use x509_parser::pem::{parse_x509_pem, Pem};

use crate::cli::Pki;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::Context;

/// The name of the authority.
const AUTHORITY: &str = "fep cluster authority";
/// Clocks of nodes may be so much behind.
const SKEW: Duration = Duration::hours(1);

pub(super) fn run(command: &Pki, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    match command {
        Pki::Init { dir, days } => init(dir, *days),
        Pki::Issue { dir, name, days } => issue(dir, name, *days),
        Pki::Show { files } => show(files, context),
    }
}

fn init(dir: &Path, days: i64) -> Result<(), Failure> {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, AUTHORITY);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let now = OffsetDateTime::now_utc();
    params.not_before = now - SKEW;
    params.not_after = now + Duration::days(days);
    let key = KeyPair::generate().map_err(unmade)?;
    let certificate = params.self_signed(&key).map_err(unmade)?;
    fs::create_dir_all(dir).map_err(|error| Failure::io(&dir.display().to_string(), &error))?;
    write_pair(dir, "ca", &certificate.pem(), &key.serialize_pem())
}

fn issue(dir: &Path, name: &str, days: i64) -> Result<(), Failure> {
    let (path, key_path) = (dir.join("ca.pem"), dir.join("ca.key"));
    let key = KeyPair::from_pem(&read(&key_path)?)
        .map_err(|error| not_usable(&key_path, &format!("no private key ({error})")))?;
    let text = read(&path)?;
    let pem = certificate_in(&path, &text)?;
    let authority = pem
        .parse_x509()
        .map_err(|e| not_usable(&path, &e.to_string()))?;
    if authority.public_key().raw != key.subject_public_key_info() {
        return Err(not_usable(&key_path, "not the key of ca.pem"));
    }
    let now = OffsetDateTime::now_utc();
    let last = authority.validity().not_after.to_datetime();
    let until = now + Duration::days(days);
    if until > last {
        let message = format!(
            "the authority ends on {}, before {days} days are over (--days)",
            day(last)
        );
        return Err(not_usable(&path, &message));
    }
    let issuer = Issuer::from_ca_cert_pem(&text, key)
        .map_err(|error| not_usable(&path, &error.to_string()))?;
    let mut params = CertificateParams::new([name.to_owned()]).map_err(unmade)?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.use_authority_key_identifier_extension = true;
    params.not_before = now - SKEW;
    params.not_after = until;
    let key = KeyPair::generate().map_err(unmade)?;
    let certificate = params.signed_by(&key, &issuer).map_err(unmade)?;
    write_pair(dir, name, &certificate.pem(), &key.serialize_pem())
}

fn show(files: &[impl AsRef<Path>], context: &mut Context<'_, '_>) -> Result<(), Failure> {
    let now = OffsetDateTime::now_utc();
    let mut all = Vec::new();
    let mut lines = String::new();
    for path in files.iter().map(AsRef::as_ref) {
        let pem = certificate_in(path, &read(path)?)?;
        let parsed = pem
            .parse_x509()
            .map_err(|e| not_usable(path, &e.to_string()))?;
        let names: Vec<&str> = match parsed.subject_alternative_name() {
            Ok(Some(extension)) => (extension.value.general_names.iter())
                .filter_map(|name| match name {
                    GeneralName::DNSName(name) => Some(*name),
                    _ => None,
                })
                .collect(),
            _ => Vec::new(),
        };
        let authority = parsed.is_ca();
        let last = parsed.validity().not_after.to_datetime();
        let left = (last - now).whole_days();
        let expired = last < now;
        let whom = if authority {
            "authority".to_owned()
        } else {
            names.join(", ")
        };
        let end = if expired {
            format!("ended on {}", day(last))
        } else {
            format!("ends on {}, in {left} days", day(last))
        };
        lines += &format!("{}: {whom}, {end}\n", path.display());
        all.push(json!({
            "file": path.display().to_string(), "authority": authority, "names": names,
            "ends": day(last), "days_left": left, "expired": expired,
        }));
    }
    if context.json {
        lines = format!("{:#}\n", json!(all));
    }
    Ok(context.out().write_all(lines.as_bytes())?)
}

/// Writes a certificate and its key; both, or none.
fn write_pair(dir: &Path, name: &str, certificate: &str, key: &str) -> Result<(), Failure> {
    let key_path = dir.join(format!("{name}.key"));
    let path = dir.join(format!("{name}.pem"));
    write_new(&key_path, key, 0o600)?;
    write_new(&path, certificate, 0o644).inspect_err(|_| {
        // It was made just now, and is of no use alone.
        let _ = fs::remove_file(&key_path);
    })
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => Failure::new(
            Exit::AlreadyThere,
            "exists",
            format!(
                "{}: it is there already and is not overwritten",
                path.display()
            ),
        ),
        _ => Failure::io(&path.display().to_string(), &error),
    };
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(failed)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all());
    written.map_err(|error| {
        let _ = fs::remove_file(path);
        failed(error)
    })
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| not_usable(path, &error.to_string()))
}

fn certificate_in(path: &Path, text: &str) -> Result<Pem, Failure> {
    match parse_x509_pem(text.as_bytes()) {
        Ok((_, pem)) if pem.label == "CERTIFICATE" => Ok(pem),
        _ => Err(not_usable(path, "no certificate in PEM")),
    }
}

fn day(time: OffsetDateTime) -> String {
    let (year, month, day) = time.to_calendar_date();
    format!("{year}-{:02}-{day:02}", u8::from(month))
}

fn not_usable(path: &Path, why: &str) -> Failure {
    Failure::bad_input(why).in_file(&path.display().to_string(), None)
}

fn unmade(error: rcgen::Error) -> Failure {
    Failure::new(
        Exit::Internal,
        "certificate",
        format!("making a certificate: {error}"),
    )
}

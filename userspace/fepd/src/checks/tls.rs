// SPDX-License-Identifier: GPL-2.0

//! TLS for checks: what is trusted, read once for each reading of the configuration.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use fep_config::Http;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{ring, verify_tls12_signature, verify_tls13_signature, CryptoProvider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::TlsConnector;

/// Where Debian and its kin have the authorities that the system trusts, all in one file.
const SYSTEM: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Whether to verify, and by which authorities.
type Trust = (bool, Option<PathBuf>);

/// The settings of TLS that were made.
#[derive(Debug, Default)]
pub(crate) struct Tls(Mutex<HashMap<Trust, Arc<ClientConfig>>>);

impl Tls {
    fn of(&self, http: &Http) -> Result<Arc<ClientConfig>, String> {
        let trust = (http.verify, http.ca.clone());
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = made.get(&trust) {
            return Ok(Arc::clone(config));
        }
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let config = if http.verify {
            let file = http.ca.as_deref().unwrap_or(Path::new(SYSTEM));
            builder.with_root_certificates(roots(file)?)
        } else {
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        };
        let config = Arc::new(config.with_no_client_auth());
        made.insert(trust, Arc::clone(&config));
        Ok(config)
    }

    /// Begins TLS on a connection.
    pub(super) async fn begin(
        &self,
        http: &Http,
        at: SocketAddr,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, String> {
        let name = match &http.host {
            // A host of HTTP may have a port, a certificate's name has none.
            Some(host) => {
                let name = host
                    .rsplit_once(':')
                    .map_or(host.as_str(), |(name, _)| name);
                ServerName::try_from(name.to_owned()).map_err(|error| format!("{host}: {error}"))?
            }
            None => ServerName::IpAddress(at.ip().into()),
        };
        let connector = TlsConnector::from(self.of(http)?);
        let done = connector.connect(name, stream).await;
        done.map_err(|error| error.to_string())
    }
}

fn roots(file: &Path) -> Result<RootCertStore, String> {
    let said = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(file).map_err(|error| said(&error))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| said(&error))?;
        roots.add(certificate).map_err(|error| said(&error))?;
    }
    if roots.is_empty() {
        return Err(said(&"has no certificate"));
    }
    Ok(roots)
}

/// Takes every certificate, as `verify = false` asks for; signatures have to be right all the same.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

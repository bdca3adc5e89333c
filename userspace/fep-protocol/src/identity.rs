// SPDX-License-Identifier: GPL-2.0

//! Who this end is and whom it believes: a certificate, its key and the authority of the cluster.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::{ring, CryptoProvider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use webpki::EndEntityCert;

use crate::Error;

/// A certificate with its key, and the authority that both ends' certificates are of.
#[derive(Debug)]
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl Identity {
    /// Reads the authority's certificate, the own certificate and its key from PEM files.
    ///
    /// # Errors
    ///
    /// [`Error::File`] names the file that cannot be read or does not hold what it should.
    pub fn load(authority: &Path, certificate: &Path, key: &Path) -> Result<Self, Error> {
        let read = |path: &Path| std::fs::read(path).map_err(|error| in_file(path, error));
        let roots = certificates(&read(authority)?).map_err(|why| in_file(authority, why))?;
        let chain = certificates(&read(certificate)?).map_err(|why| in_file(certificate, why))?;
        let private = PrivateKeyDer::from_pem_slice(&read(key)?)
            .map_err(|error| in_file(key, format!("no private key in PEM ({error})")))?;
        Self::new(&roots, chain, private)
    }

    /// Takes them from PEM text.
    ///
    /// # Errors
    ///
    /// [`Error::Certificates`].
    pub fn from_pem(authority: &str, certificate: &str, key: &str) -> Result<Self, Error> {
        let roots = certificates(authority.as_bytes()).map_err(Error::Certificates)?;
        let chain = certificates(certificate.as_bytes()).map_err(Error::Certificates)?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|error| Error::Certificates(error.to_string()))?;
        Self::new(&roots, chain, key)
    }

    fn new(
        authority: &[CertificateDer<'static>],
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        for certificate in authority {
            roots.add(certificate.clone()).map_err(unusable)?;
        }
        let identity = Self {
            chain,
            key,
            roots: Arc::new(roots),
            provider: Arc::new(ring::default_provider()),
        };
        // A key that is not the certificate's is found here, not at the first connection.
        identity.server()?;
        Ok(identity)
    }

    /// The names that the own certificate is for.
    pub fn names(&self) -> Vec<String> {
        self.chain.first().map(names).unwrap_or_default()
    }

    /// What the connecting end does.
    pub(crate) fn client(&self) -> Result<Arc<ClientConfig>, Error> {
        let config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&TLS13])
            .map_err(unusable)?
            .with_root_certificates(self.roots.clone())
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())
            .map_err(unusable)?;
        Ok(Arc::new(config))
    }

    /// What the accepting end does: no certificate, no connection. No session is resumed, so that
    /// every connection shows its certificate.
    pub(crate) fn server(&self) -> Result<Arc<ServerConfig>, Error> {
        let verifier =
            WebPkiClientVerifier::builder_with_provider(self.roots.clone(), self.provider.clone())
                .build()
                .map_err(|error| Error::Certificates(error.to_string()))?;
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&TLS13])
            .map_err(unusable)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .map_err(unusable)?;
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        Ok(Arc::new(config))
    }
}

/// The DNS names that a certificate is for.
pub(crate) fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    EndEntityCert::try_from(certificate)
        .map(|parsed| parsed.valid_dns_names().map(str::to_owned).collect())
        .unwrap_or_default()
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("no certificate in PEM ({error})"))?;
    if all.is_empty() {
        return Err("no certificate in PEM".to_owned());
    }
    Ok(all)
}

fn in_file(path: &Path, why: impl ToString) -> Error {
    Error::File {
        path: path.to_owned(),
        why: why.to_string(),
    }
}

fn unusable(error: rustls::Error) -> Error {
    Error::Certificates(error.to_string())
}

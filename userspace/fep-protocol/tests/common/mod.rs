// SPDX-License-Identifier: GPL-2.0

//! An authority, certificates and an agent for the tests of the link.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fep_protocol::{AgentClient, Error, FromAgent, Identity, Limits, Peer, Server, ToAgent};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::TlsConnector;

/// No wait of these tests is meant to end by this.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A private authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A new authority.
pub(crate) fn authority() -> Authority {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).unwrap().pem();
    Authority {
        issuer: Issuer::new(params, key),
        pem,
    }
}

impl Authority {
    fn sign(&self, params: CertificateParams) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// A certificate and its key.
    pub(crate) fn issue_pem(&self, name: &str) -> (String, String) {
        self.sign(CertificateParams::new([name.to_owned()]).unwrap())
    }

    /// An identity that believes this authority and shows what another may have issued.
    pub(crate) fn believing(&self, (certificate, key): &(String, String)) -> Identity {
        Identity::from_pem(&self.pem, certificate, key).unwrap()
    }

    /// An identity of this authority.
    pub(crate) fn issue(&self, name: &str) -> Identity {
        self.believing(&self.issue_pem(name))
    }
}

/// An identity whose time is over.
pub(crate) fn expired(ca: &Authority, name: &str) -> Identity {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.not_before = time::OffsetDateTime::UNIX_EPOCH;
    params.not_after = time::OffsetDateTime::UNIX_EPOCH + time::Duration::days(365);
    ca.believing(&ca.sign(params))
}

/// An agent that takes every connection for live.
pub(crate) struct Agent {
    pub(crate) address: SocketAddr,
    server: Arc<Server>,
    told: Arc<Mutex<Vec<String>>>,
}

impl Agent {
    /// Starts `node-1`, which obeys `fep-1` and `fep-2`.
    pub(crate) async fn start(ca: &Authority, limits: Limits) -> Self {
        let told = Arc::new(Mutex::new(Vec::new()));
        let ear = told.clone();
        let front_ends = ["fep-1".to_owned(), "fep-2".to_owned()];
        let server = Server::new(
            &ca.issue("node-1"),
            "node-1",
            "0.1",
            &["connections"],
            &front_ends,
            limits,
            move |_, error| ear.lock().unwrap().push(error.to_string()),
        );
        let server = Arc::new(server.unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(server.clone().serve(listener, answer));
        Self {
            address,
            server,
            told,
        }
    }

    pub(crate) fn half_open(&self) -> usize {
        self.server.half_open()
    }

    pub(crate) fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }

    /// What was told, as soon as something was.
    pub(crate) async fn wait_told(&self) -> Vec<String> {
        deadline(async {
            while self.told().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        self.told()
    }
}

async fn answer(peer: Peer) {
    let (mut reader, mut writer) = peer.split();
    while let Ok(Some(message)) = reader.read().await {
        if let ToAgent::Connections { id, list } = message {
            let live = list.iter().map(|_| true).collect();
            if writer.write(&FromAgent::Live { id, live }).await.is_err() {
                return;
            }
        }
    }
}

/// Connects to the agent as fepd does.
pub(crate) async fn client(
    agent: &Agent,
    who: &Identity,
    node: &str,
) -> Result<AgentClient, Error> {
    AgentClient::connect(agent.address, node, who, "0.1", LONG).await
}

/// A TLS connection to the agent, without a word of the protocol yet.
pub(crate) async fn tls(
    agent: &Agent,
    ca: &Authority,
    pem: &(String, String),
) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(ca.pem.as_bytes()).unwrap())
        .unwrap();
    let chain = vec![CertificateDer::from_pem_slice(pem.0.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(pem.1.as_bytes()).unwrap();
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap();
    let tcp = TcpStream::connect(agent.address).await.unwrap();
    let name = ServerName::try_from("node-1").unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await
        .unwrap()
}

/// What comes of `work`, which must come in time.
pub(crate) async fn deadline<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, work).await.expect("in time")
}

/// Reads until the other end closes.
pub(crate) async fn end(stream: &mut TcpStream) {
    let mut bytes = [0; 256];
    while matches!(stream.read(&mut bytes).await, Ok(1..)) {}
}

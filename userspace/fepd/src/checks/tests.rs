// SPDX-License-Identifier: GPL-2.0

//! Each kind of check against something that answers well, something that answers badly, and nothing.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use fep_client::NodeAddr;
use fep_config::Config;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio_rustls::TlsAcceptor;

use super::*;

/// A check as the file says it.
fn check(lines: &str) -> Check {
    let text = format!(
        "[[service]]\nkey = \"tcp/10.0.0.1:80\"\n[[service.check]]\ntimeout = \"20s\"\n{lines}\n"
    );
    let config = Config::parse(Path::new("f"), &text).expect("a sound file");
    config.services[0].checks[0].clone()
}

async fn done(means: &Means, lines: &str, at: SocketAddr) -> CheckResult {
    let order = Order {
        place: (
            "tcp/10.0.0.1:80".parse().unwrap(),
            NodeAddr {
                address: at.ip(),
                port: at.port(),
            },
        ),
        checks: Arc::new([check(lines)]),
    };
    run(means, &order).await
}

#[track_caller]
fn assert_bad(result: CheckResult, wanted: &str) {
    let why = result.expect_err("a bad check");
    assert!(why.contains(wanted), "{why:?} has no {wanted:?}");
}

/// A port that nothing listens on.
async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    listener.local_addr().unwrap()
}

/// A server that answers every connection so.
async fn server(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            if stream.read(&mut request).await.is_ok() {
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        }
    });
    at
}

#[tokio::test]
async fn tcp() {
    let tls = Means::default();
    let at = server("").await;
    assert_eq!(done(&tls, "type = \"tcp\"", at).await, Ok(()));
    assert_bad(
        done(&tls, "type = \"tcp\"", nobody().await).await,
        "tcp: Connection refused",
    );
}

#[tokio::test]
async fn http() {
    let tls = Means::default();
    let good = server("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nfep ok").await;
    let missing = server("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
    let unbounded = server("HTTP/1.0 200 OK\r\n\r\nfep ok").await;
    let noise = server("SSH-2.0-x\r\n").await;
    let silent = server("").await;
    for (lines, at) in [
        ("", good),
        ("body = \"^fep ok$\"", good),
        ("status = \"404\"", missing),
        // The end of the connection is the end of the body.
        ("body = \"^fep ok$\"", unbounded),
    ] {
        let lines = format!("type = \"http\"\n{lines}");
        assert_eq!(done(&tls, &lines, at).await, Ok(()), "{lines}");
    }
    for (lines, at, why) in [
        ("", missing, "http: status 404"),
        ("body = \"down\"", good, "http: no \"down\" in the body"),
        ("status = \"201\"", good, "http: status 200"),
        ("", noise, "http: "),
        ("", silent, "http: "),
        ("", nobody().await, "Connection refused"),
    ] {
        assert_bad(
            done(&tls, &format!("type = \"http\"\n{lines}"), at).await,
            why,
        );
    }
}

#[tokio::test]
async fn a_check_has_its_time() {
    // It takes connections, and says nothing.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let at = listener.local_addr().unwrap();
    let mut slow = check("type = \"http\"");
    slow.timeout = std::time::Duration::from_millis(20);
    let order = Order {
        place: (
            "tcp/10.0.0.1:80".parse().unwrap(),
            at.to_string().parse().unwrap(),
        ),
        checks: Arc::new([slow]),
    };
    assert_bad(
        run(&Means::default(), &order).await,
        "http: no answer in 20ms",
    );
}

#[tokio::test]
async fn https() {
    let key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new([]).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = ca.self_signed(&key).unwrap();
    let issuer = Issuer::new(ca, key);
    let own = KeyPair::generate().unwrap();
    let names = ["127.0.0.1".to_owned(), "web.example".to_owned()];
    let certificate = CertificateParams::new(names).unwrap();
    let certificate = certificate.signed_by(&own, &issuer).unwrap();
    let key = PrivateKeyDer::try_from(own.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut request = [0; 1024];
            if stream.read(&mut request).await.is_ok() {
                let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let trusted = folder.path().join("ca.pem");
    std::fs::write(&trusted, authority.pem()).unwrap();
    let tls = Means::default();
    let ca = format!("ca = \"{}\"", trusted.display());
    for lines in [
        "verify = false".to_owned(),
        ca.clone(),
        format!("{ca}\nhost = \"web.example\""),
        format!("{ca}\nhost = \"web.example:8443\""),
    ] {
        let lines = format!("type = \"https\"\n{lines}");
        assert_eq!(done(&tls, &lines, at).await, Ok(()), "{lines}");
    }
    for (lines, why) in [
        (
            format!("{ca}\nhost = \"other.example\""),
            "not valid for name",
        ),
        (
            "ca = \"/nowhere/ca.pem\"".to_owned(),
            "https: /nowhere/ca.pem: ",
        ),
    ] {
        assert_bad(
            done(&tls, &format!("type = \"https\"\n{lines}"), at).await,
            why,
        );
    }
    // Another authority.
    let other = KeyPair::generate().unwrap();
    let other = CertificateParams::new([])
        .unwrap()
        .self_signed(&other)
        .unwrap();
    std::fs::write(&trusted, other.pem()).unwrap();
    let lines = format!("type = \"https\"\n{ca}");
    assert_bad(
        done(&Means::default(), &lines, at).await,
        "https: invalid peer certificate",
    );
    // Who knows it by its old settings is not asked again until the next reading.
    assert_eq!(done(&tls, &lines, at).await, Ok(()));
}

#[tokio::test]
async fn udp() {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let at = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 64];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let mut answer = buffer[..length].to_vec();
            answer.reverse();
            let _ = socket.send_to(&answer, from).await;
        }
    });
    let tls = Means::default();
    for lines in ["send = \"ping\"", "send = \"ping\"\nexpect = \"^gnip$\""] {
        assert_eq!(
            done(&tls, &format!("type = \"udp\"\n{lines}"), at).await,
            Ok(())
        );
    }
    let lines = "type = \"udp\"\nsend = \"ping\"\nexpect = \"pong\"";
    assert_bad(
        done(&tls, lines, at).await,
        "udp: no \"pong\" in the answer",
    );
    let lines = "type = \"udp\"\nsend = \"ping\"";
    assert_bad(
        done(&tls, lines, nobody().await).await,
        "Connection refused",
    );
}

#[tokio::test]
async fn command() {
    let tls = Means::default();
    let at: SocketAddr = "10.0.0.2:81".parse().unwrap();
    let of =
        |script: &str| format!("type = \"command\"\ncommand = [\"/bin/sh\", \"-c\", '{script}']");
    let told = "test $FEP_SERVICE-$FEP_NODE-$FEP_PORT = tcp/10.0.0.1:80-10.0.0.2-81";
    assert_eq!(done(&tls, &of(told), at).await, Ok(()));
    assert_bad(done(&tls, &of("exit 3"), at).await, "/bin/sh ended with 3");
    assert_bad(
        done(&tls, &of("kill -9 $$"), at).await,
        "was ended by signal 9",
    );
    let lines = "type = \"command\"\ncommand = [\"/nowhere\"]";
    assert_bad(done(&tls, lines, at).await, "/nowhere: No such file");
}

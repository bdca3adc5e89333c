// SPDX-License-Identifier: GPL-2.0

//! The link over loopback: who is let in, who is not, and what those who are not cost.

mod common;

use std::time::Duration;

use common::{authority, client, deadline, end, expired, Agent, LONG};
use fep_protocol::{frame, AgentClient, Connection, Error, FromAgent, Limits, ToAgent, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const QUICK: Limits = Limits {
    greeting: Duration::from_millis(200),
    half_open: 64,
    tell_every: Duration::from_secs(3600),
};

#[tokio::test]
async fn a_configured_front_end_asks_and_is_answered() {
    let ca = authority();
    let agent = Agent::start(&ca, Limits::default()).await;
    let link = client(&agent, &ca.issue("fep-1"), "node-1").await.unwrap();
    assert_eq!((link.protocol, link.agent_version.as_str()), (1, "0.1"));
    assert_eq!(link.features, ["connections"]);
    let (mut reader, mut writer) = link.split();
    let one = Connection {
        transport: Transport::Udp,
        local: "[2001:db8::1]:53".parse().unwrap(),
        peer: "[2001:db8::2]:4000".parse().unwrap(),
    };
    for (id, count) in [(1, 1), (2, 4096), (3, 0)] {
        let list = vec![one; count];
        writer
            .write(&ToAgent::Connections { id, list })
            .await
            .unwrap();
        let live = vec![true; count];
        let answer = deadline(reader.read()).await.unwrap();
        assert_eq!(answer, Some(FromAgent::Live { id, live }));
    }
    assert_eq!(agent.half_open(), 0);
    assert!(agent.told().is_empty());
}

#[tokio::test]
async fn wrong_identities_are_refused_and_told_once() {
    let ca = authority();
    let agent = Agent::start(
        &ca,
        Limits {
            tell_every: Duration::from_secs(3600),
            ..Limits::default()
        },
    )
    .await;
    let stranger = client(&agent, &ca.issue("fep-9"), "node-1").await;
    assert!(matches!(stranger, Err(Error::Refused { why }) if why.contains("not a front-end")));
    let told = agent.wait_told().await;
    assert_eq!(told, ["the certificate is for fep-9, not for fep-1, fep-2"]);

    let other = authority();
    let foreign = ca.believing(&other.issue_pem("fep-1"));
    assert!(client(&agent, &foreign, "node-1").await.is_err());
    assert!(client(&agent, &expired(&ca, "fep-1"), "node-1")
        .await
        .is_err());
    assert!(client(&agent, &ca.issue("fep-1"), "node-1").await.is_ok());
    assert_eq!(agent.told().len(), 1, "{:?}", agent.told());
}

#[tokio::test]
async fn the_reasons_of_foreign_and_expired_certificates_are_told() {
    let ca = authority();
    let other = authority();
    let foreign = ca.believing(&other.issue_pem("fep-1"));
    for (identity, reason) in [(foreign, "certificate"), (expired(&ca, "fep-1"), "xpired")] {
        let agent = Agent::start(&ca, Limits::default()).await;
        assert!(client(&agent, &identity, "node-1").await.is_err());
        let told = agent.wait_told().await;
        assert!(told[0].contains(reason), "{told:?}");
    }
}

#[tokio::test]
async fn an_agent_that_is_another_node_is_not_believed() {
    let ca = authority();
    let agent = Agent::start(&ca, Limits::default()).await;
    let error = client(&agent, &ca.issue("fep-1"), "node-2")
        .await
        .unwrap_err();
    assert!(error.to_string().contains("node-2"), "{error}");
    let error = client(&agent, &authority().issue("fep-1"), "node-1")
        .await
        .unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
}

#[tokio::test]
async fn plain_text_and_slow_peers_are_closed() {
    let ca = authority();
    let agent = Agent::start(&ca, QUICK).await;
    let mut plain = TcpStream::connect(agent.address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    deadline(end(&mut plain)).await;
    assert_eq!(agent.wait_told().await.len(), 1);

    let agent = Agent::start(&ca, QUICK).await;
    let mut slow = TcpStream::connect(agent.address).await.unwrap();
    slow.write_all(&[22, 3, 1]).await.unwrap();
    deadline(end(&mut slow)).await;
    assert_eq!(agent.wait_told().await, ["no hello within 200 ms"]);
}

#[tokio::test]
async fn an_oversized_or_malformed_hello_ends_the_link() {
    let ca = authority();
    let huge = u32::MAX.to_be_bytes().to_vec();
    let garbage = [&8_u32.to_be_bytes()[..], b"not json"].concat();
    let hello = frame::encode(&ToAgent::ReportEvery { ms: 1 }, 4096).unwrap();
    let later = frame::encode(
        &ToAgent::Hello {
            protocol_min: 2,
            protocol_max: 3,
            node: "node-1".to_owned(),
            program_version: String::new(),
        },
        4096,
    )
    .unwrap();
    let elsewhere = frame::encode(
        &ToAgent::Hello {
            protocol_min: 1,
            protocol_max: 1,
            node: "node-9".to_owned(),
            program_version: String::new(),
        },
        4096,
    )
    .unwrap();
    for (bytes, reason) in [
        (elsewhere, "the certificate is for node-1, not for node-9"),
        (huge, "a message of 4294967295 bytes (4096 at most)"),
        (garbage, "not a message of this protocol"),
        (hello, "expected hello"),
        (later, "speaks protocol 2 to 3"),
    ] {
        let agent = Agent::start(&ca, Limits::default()).await;
        let mut tls = common::tls(&agent, &ca, &ca.issue_pem("fep-1")).await;
        tls.write_all(&bytes).await.unwrap();
        let mut rest = Vec::new();
        let _ = deadline(tls.read_to_end(&mut rest)).await;
        let told = agent.wait_told().await;
        assert!(told[0].contains(reason), "{told:?}");
        assert!(client(&agent, &ca.issue("fep-1"), "node-1").await.is_ok());
    }
}

#[tokio::test]
async fn a_thousand_half_open_connections_keep_nobody_out() {
    let ca = authority();
    let limits = Limits {
        greeting: LONG * 10,
        ..QUICK
    };
    let agent = Agent::start(&ca, limits).await;
    let (mut reader, mut writer) = client(&agent, &ca.issue("fep-1"), "node-1")
        .await
        .unwrap()
        .split();
    // In turns, so that the test needs few descriptors of its own and closes none too early.
    let mut open = Vec::new();
    for _ in 0..1000 {
        open.push(TcpStream::connect(agent.address).await.unwrap());
        assert!(agent.half_open() <= 64);
        if open.len() > 200 {
            // The oldest is no longer among the 64, so the agent closes it.
            deadline(end(&mut open.remove(0))).await;
        }
    }
    assert!(client(&agent, &ca.issue("fep-2"), "node-1").await.is_ok());
    let list = Vec::new();
    writer
        .write(&ToAgent::Connections { id: 1, list })
        .await
        .unwrap();
    let answer = deadline(reader.read()).await.unwrap();
    assert_eq!(
        answer,
        Some(FromAgent::Live {
            id: 1,
            live: Vec::new()
        })
    );
    assert_eq!(agent.told().len(), 1, "{:?}", agent.told());
}

#[tokio::test]
async fn a_front_end_that_comes_again_takes_its_place() {
    let ca = authority();
    let agent = Agent::start(&ca, Limits::default()).await;
    let identity = ca.issue("fep-1");
    let (mut before, _writer) = client(&agent, &identity, "node-1").await.unwrap().split();
    let _now: AgentClient = client(&agent, &identity, "node-1").await.unwrap();
    assert!(!matches!(deadline(before.read()).await, Ok(Some(_))));
}

#[tokio::test]
async fn a_welcome_front_end_that_sends_nonsense_harms_its_own_link_alone() {
    let ca = authority();
    let agent = Agent::start(&ca, Limits::default()).await;
    let (mut reader, mut writer) = client(&agent, &ca.issue("fep-2"), "node-1")
        .await
        .unwrap()
        .split();
    let hello = ToAgent::Hello {
        protocol_min: 1,
        protocol_max: 1,
        node: "node-1".to_owned(),
        program_version: String::new(),
    };
    let hello = frame::encode(&hello, 4096).unwrap();
    let too_large = u32::try_from(frame::FRAME_MAX + 1).unwrap().to_be_bytes();
    let garbage = [&8_u32.to_be_bytes()[..], b"not json"].concat();
    for (id, nonsense) in [(1, too_large.to_vec()), (2, garbage)] {
        let mut tls = common::tls(&agent, &ca, &ca.issue_pem("fep-1")).await;
        tls.write_all(&hello).await.unwrap();
        let welcome = deadline(frame::read::<FromAgent>(&mut tls, 4096)).await;
        assert!(matches!(welcome, Ok(Some(FromAgent::Welcome { .. }))));
        tls.write_all(&nonsense).await.unwrap();
        let mut rest = Vec::new();
        let _ = deadline(tls.read_to_end(&mut rest)).await;
        assert!(rest.is_empty());
        let list = Vec::new();
        writer
            .write(&ToAgent::Connections { id, list })
            .await
            .unwrap();
        let answer = deadline(reader.read()).await.unwrap();
        let live = Vec::new();
        assert_eq!(answer, Some(FromAgent::Live { id, live }));
    }
}

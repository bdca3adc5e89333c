// SPDX-License-Identifier: GPL-2.0

//! Whether a node answers an HTTP request as it should.

use std::net::SocketAddr;

use fep_config::Http;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::Tls;

/// So much of a body is searched.
const BODY_MAX: usize = 64 * 1024;

/// Asks, and looks at the answer.
pub(super) async fn run(tls: &Tls, http: &Http, at: SocketAddr) -> Result<(), String> {
    let stream = TcpStream::connect(at).await.map_err(said)?;
    if http.tls {
        over(http, at, tls.begin(http, at, stream).await?).await
    } else {
        over(http, at, stream).await
    }
}

/// Asks over a connection that there is.
async fn over<S>(http: &Http, at: SocketAddr, stream: S) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(said)?;
    let host = http.host.clone().unwrap_or_else(|| at.to_string());
    let request = Request::get(&http.path)
        .header(HOST, host)
        .header(USER_AGENT, concat!("fepd/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(said)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(said)?;
        look(http, response).await
    };
    // The connection does its part only while it is waited for; the answer decides.
    tokio::pin!(connection);
    tokio::pin!(exchange);
    tokio::select! {
        biased;
        done = &mut exchange => done,
        ended = &mut connection => match ended {
            // The answer may be whole already when the other end closes.
            Ok(()) => exchange.await,
            Err(error) => Err(said(error)),
        },
    }
}

async fn look(http: &Http, response: Response<Incoming>) -> Result<(), String> {
    let status = response.status().as_u16();
    if !http.statuses.contains(status) {
        return Err(format!("status {status}"));
    }
    let Some(pattern) = &http.body else {
        return Ok(());
    };
    let mut body = response.into_body();
    let mut text = Vec::new();
    while text.len() < BODY_MAX {
        let Some(frame) = body.frame().await else {
            break;
        };
        if let Ok(data) = frame.map_err(said)?.into_data() {
            text.extend_from_slice(&data);
        }
    }
    text.truncate(BODY_MAX);
    if pattern.0.is_match(&text) {
        return Ok(());
    }
    Err(format!("no \"{}\" in the body", pattern.0.as_str()))
}

/// An error and what is behind it, in a line.
fn said(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut behind = error.source();
    while let Some(source) = behind {
        text = format!("{text}: {source}");
        behind = source.source();
    }
    text
}

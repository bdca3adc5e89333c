// SPDX-License-Identifier: GPL-2.0

//! A link to one agent.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use fep_protocol::{AgentClient, AgentReader, AgentWriter, Error, FromAgent, Identity, ToAgent};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::Said;

/// A link has to be made within this.
const CONNECT: Duration = Duration::from_secs(3);
/// Pause before a link is made again: it doubles with each failure, up to the second.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// An agent that said nothing for so many of its intervals, and for a second at least, is gone.
const SILENT: u32 = 5;

/// What a link is between.
pub(super) struct Ends {
    pub(super) at: SocketAddr,
    pub(super) name: String,
    pub(super) identity: Arc<Identity>,
    /// How often the agent is to report.
    pub(super) report: Duration,
    pub(super) orders: mpsc::Receiver<ToAgent>,
    pub(super) said: mpsc::Sender<(IpAddr, Said)>,
}

/// Makes the link, again and again, until it is dropped.
pub(super) async fn keep(mut ends: Ends) {
    let node = ends.at.ip();
    let mut pause = PAUSE.0;
    loop {
        let version = env!("CARGO_PKG_VERSION");
        let made =
            AgentClient::connect(ends.at, &ends.name, &ends.identity, version, CONNECT).await;
        let why = match made {
            Ok(client) => {
                pause = PAUSE.0;
                // Those were meant for a link that is no more.
                while ends.orders.try_recv().is_ok() {}
                let features = client.features.clone();
                if ends.said.send((node, Said::Up { features })).await.is_err() {
                    return;
                }
                match talk(&mut ends, client).await {
                    Ok(()) => "the agent has closed it".to_owned(),
                    Err(error) => error.to_string(),
                }
            }
            Err(error) => error.to_string(),
        };
        if ends.said.send((node, Said::Down { why })).await.is_err() {
            return;
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}

/// Passes messages on in both directions until the link ends.
async fn talk(ends: &mut Ends, client: AgentClient) -> Result<(), Error> {
    let (reader, mut writer) = client.split();
    let ms = u32::try_from(ends.report.as_millis()).unwrap_or(u32::MAX);
    writer.write(&ToAgent::ReportEvery { ms }).await?;
    let silence = (ends.report * SILENT).max(Duration::from_secs(1));
    let reading = read(reader, silence, ends.at.ip(), ends.said.clone());
    let writing = write(&mut writer, &mut ends.orders);
    // Neither is begun again once it was dropped: the link ends with the first that ends.
    tokio::select! {
        done = reading => done,
        done = writing => done,
    }
}

async fn read(
    mut reader: AgentReader,
    silence: Duration,
    node: IpAddr,
    said: mpsc::Sender<(IpAddr, Said)>,
) -> Result<(), Error> {
    loop {
        let next = timeout(silence, reader.read()).await;
        let next = next.map_err(|_| Error::TooSlow {
            what: "report of the agent",
            ms: silence.as_millis(),
        })??;
        let Some(message) = next else {
            return Ok(());
        };
        if matches!(message, FromAgent::Unknown) {
            continue;
        }
        if said.send((node, Said::Message(message))).await.is_err() {
            return Ok(());
        }
    }
}

async fn write(
    writer: &mut AgentWriter,
    orders: &mut mpsc::Receiver<ToAgent>,
) -> Result<(), Error> {
    while let Some(order) = orders.recv().await {
        writer.write(&order).await?;
    }
    Ok(())
}

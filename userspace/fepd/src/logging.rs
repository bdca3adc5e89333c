// SPDX-License-Identifier: GPL-2.0

//! The log, on standard error.

use std::fmt;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::registry::LookupSpan;

use crate::cli::{Cli, LogFormat};

/// Lines whose priority the journal understands: `<4>` in front is a warning. It has the time itself.
struct Journal;

impl<S: Subscriber + for<'a> LookupSpan<'a>, N: for<'w> FormatFields<'w> + 'static>
    FormatEvent<S, N> for Journal
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        write!(writer, "<{priority}>")?;
        context
            .field_format()
            .format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// Logs from now on as the command line says.
pub(crate) fn begin(cli: &Cli) {
    let builder = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(cli.log_level)
        .with_ansi(false)
        .with_target(false);
    match cli.log_format {
        LogFormat::Json => builder.json().flatten_event(true).init(),
        // systemd sets it for those whose standard error the journal reads.
        LogFormat::Text if std::env::var_os("JOURNAL_STREAM").is_some() => {
            builder.event_format(Journal).init();
        }
        LogFormat::Text => builder.init(),
    }
}

//! `millstream lag`

use clap::Args;
use millstream::kafka::group_lag;
use millstream::{Offset, Result};
use serde_json::json;

use crate::Ended;
use crate::cluster::ClusterArguments;
use crate::output::{Output, table};

/// Show how far an application is behind its input topics, running or not
#[derive(Debug, Args)]
pub(crate) struct Lag {
    /// The application's id: its consumer group
    #[arg(long, value_name = "ID")]
    application_id: String,
    #[command(flatten)]
    cluster: ClusterArguments,
}

impl Lag {
    pub(crate) fn run(self, output: Output) -> Result<Ended> {
        let lags = group_lag(&self.cluster.settings()?, &self.application_id)?;
        let json = lags.iter().map(|lag| {
            json!({
                "topic": lag.topic,
                "partition": lag.partition,
                "committed": lag.committed.get(),
                "end": lag.end.get(),
                "lag": lag.records(),
            })
        });
        output.print(&json.collect::<Vec<_>>().into(), || {
            let mut shown = table(["TOPIC", "PARTITION", "COMMITTED", "END", "LAG"]);
            for lag in &lags {
                let [committed, end] = [lag.committed, lag.end].map(|offset: Offset| offset.to_string());
                shown.add_row([
                    lag.topic.clone(),
                    lag.partition.to_string(),
                    committed,
                    end,
                    lag.records().to_string(),
                ]);
            }
            shown.to_string()
        })?;
        Ok(Ended::Done)
    }
}

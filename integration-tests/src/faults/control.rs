//! What the suite orders a worker to do to itself, as lines on its standard input.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Error, Result, bail};
use millstream::runtime::Step;

/// A fault that only the process itself can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Ends by `SIGKILL` when it has come to this step so many times from now.
    DieAt {
        /// Of a commit or a checkpoint.
        step: Step,
        /// 1 is the next time.
        nth: u32,
    },
    /// A stream thread stands still for so long, while the client's own threads go on and say that all is well.
    Stall(Duration),
    /// The wall clock jumps to so many milliseconds beside the right time.
    JumpClock(i64),
    /// No file may grow any more, or all may again.
    FillDisk(bool),
}

impl fmt::Display for Order {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Order::DieAt { step, nth } => write!(formatter, "die-at {step} {nth}"),
            Order::Stall(lasting) => write!(formatter, "stall {}", lasting.as_millis()),
            Order::JumpClock(millis) => write!(formatter, "jump-clock {millis}"),
            Order::FillDisk(is_full) => write!(formatter, "fill-disk {is_full}"),
        }
    }
}

impl FromStr for Order {
    type Err = Error;

    fn from_str(line: &str) -> Result<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        Ok(match words[..] {
            ["die-at", step, nth] => {
                let known = Step::ALL.into_iter().find(|known| known.name() == step);
                Order::DieAt { step: known.with_context(|| format!("no step {step}"))?, nth: nth.parse()? }
            }
            ["stall", millis] => Order::Stall(Duration::from_millis(millis.parse()?)),
            ["jump-clock", millis] => Order::JumpClock(millis.parse()?),
            ["fill-disk", is_full] => Order::FillDisk(is_full.parse()?),
            _ => bail!("no such order: {line}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_understood_as_they_were_given() -> Result<()> {
        let orders = [
            Order::DieAt { step: Step::OffsetsCommitted, nth: 3 },
            Order::Stall(Duration::from_millis(2500)),
            Order::JumpClock(-86_400_000),
            Order::FillDisk(true),
        ];
        for order in orders {
            assert_eq!(order.to_string().parse::<Order>()?, order);
        }
        assert!("die-at lunch 1".parse::<Order>().is_err(), "there is no such step");
        Ok(())
    }
}

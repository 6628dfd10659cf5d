//! What may follow the `?` of a request, read strictly: a parameter that is misspelt is refused, not ignored.

use millstream_state_stores::{Direction, Timestamp};

use super::error::ApiError;

/// The parameters of a request, decoded, in the order they were written.
pub(super) type Parameters = [(String, String)];

/// Which rows of a store are asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ScanRequest {
    pub(super) keys: AskedKeys,
    pub(super) direction: Direction,
    pub(super) limit: usize,
}

/// Keys as the client wrote them.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum AskedKeys {
    /// Both ends included; an end that is not given is open.
    Between { from: Option<String>, to: Option<String> },
    /// Those that begin with this.
    Prefix(String),
}

impl ScanRequest {
    /// # Errors
    /// 400, with the parameter, if one is unknown, repeated, or makes no sense.
    pub(super) fn parse(parameters: &Parameters) -> Result<Self, ApiError> {
        let [from, to, prefix, reverse, limit] =
            values_of(parameters, ["from", "to", "prefix", "reverse", "limit"])?;
        let keys = match (prefix, from, to) {
            (Some(prefix), None, None) => AskedKeys::Prefix(prefix.to_string()),
            (Some(_), _, _) => {
                return Err(ApiError::bad_request("parameter prefix cannot be combined with from or to"));
            }
            (None, from, to) => {
                AskedKeys::Between { from: from.map(str::to_string), to: to.map(str::to_string) }
            }
        };
        Ok(ScanRequest { keys, direction: direction(reverse)?, limit: limit_of(limit)? })
    }
}

/// Which rows of a window or session store are asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TimesRequest {
    /// Of windows the first start, of sessions the first end.
    pub(super) from: Timestamp,
    /// The last one.
    pub(super) to: Timestamp,
    pub(super) direction: Direction,
    pub(super) limit: usize,
}

impl TimesRequest {
    /// # Errors
    /// 400, with the parameter, if one is unknown, repeated, or makes no sense.
    pub(super) fn parse(parameters: &Parameters) -> Result<Self, ApiError> {
        let [from, to, reverse, limit] = values_of(parameters, ["from", "to", "reverse", "limit"])?;
        let time = |name, text: Option<&str>, open| match text.map(str::parse) {
            None => Ok(Timestamp::from_millis(open)),
            Some(Ok(millis)) => Ok(Timestamp::from_millis(millis)),
            Some(Err(_)) => {
                let problem = format!("parameter {name} is no point in time in milliseconds since 1970");
                Err(ApiError::bad_request(problem))
            }
        };
        Ok(TimesRequest {
            from: time("from", from, 0)?,
            to: time("to", to, i64::MAX)?,
            direction: direction(reverse)?,
            limit: limit_of(limit)?,
        })
    }
}

fn direction(reverse: Option<&str>) -> Result<Direction, ApiError> {
    match reverse {
        None | Some("false") => Ok(Direction::Forward),
        Some("true") => Ok(Direction::Reverse),
        Some(other) => {
            Err(ApiError::bad_request(format!("parameter reverse is {other:?}, not true or false")))
        }
    }
}

fn limit_of(limit: Option<&str>) -> Result<usize, ApiError> {
    const DEFAULT: usize = 100;
    const MOST: usize = 10_000;
    match limit.map(str::parse) {
        None => Ok(DEFAULT),
        Some(Ok(limit)) if (1..=MOST).contains(&limit) => Ok(limit),
        Some(_) => {
            let problem = format!("parameter limit is no whole number from 1 to {MOST}");
            Err(ApiError::bad_request(problem)
                .with_remedy("for more rows, ask again from the last key of the answer"))
        }
    }
}

/// Which version of a row is asked for: that which was valid at a time, or the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RowRequest {
    pub(super) as_of: Option<Timestamp>,
}

impl RowRequest {
    /// # Errors
    /// 400, with the parameter, if it is unknown, repeated, or no time.
    pub(super) fn parse(parameters: &Parameters) -> Result<Self, ApiError> {
        let [as_of] = values_of(parameters, ["as_of"])?;
        let as_of = as_of.map(|text| {
            let millis = text.parse().map_err(|_| {
                ApiError::bad_request(format!(
                    "parameter as_of is {text:?}, not a time in milliseconds since 1970"
                ))
            });
            millis.map(Timestamp::from_millis)
        });
        Ok(RowRequest { as_of: as_of.transpose()? })
    }
}

/// How the topology is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TopologyFormat {
    Text,
    Dot,
    Mermaid,
    Json,
}

impl TopologyFormat {
    /// # Errors
    /// 400, with the parameter, if it is unknown, repeated, or names no format.
    pub(super) fn parse(parameters: &Parameters) -> Result<Self, ApiError> {
        let [format] = values_of(parameters, ["format"])?;
        match format {
            None | Some("text") => Ok(TopologyFormat::Text),
            Some("dot") => Ok(TopologyFormat::Dot),
            Some("mermaid") => Ok(TopologyFormat::Mermaid),
            Some("json") => Ok(TopologyFormat::Json),
            Some(other) => Err(ApiError::bad_request(format!(
                "parameter format is {other:?}, not text, dot, mermaid or json"
            ))),
        }
    }
}

/// The values of the parameters with these names.
fn values_of<'a, const N: usize>(
    parameters: &'a Parameters,
    names: [&str; N],
) -> Result<[Option<&'a str>; N], ApiError> {
    let mut values = [None; N];
    for (name, value) in parameters {
        let Some(position) = names.iter().position(|known| known == name) else {
            return Err(ApiError::bad_request(format!(
                "there is no parameter {name:?} here; known: {}",
                names.join(", ")
            )));
        };
        if values[position].replace(value.as_str()).is_some() {
            return Err(ApiError::bad_request(format!("parameter {name} is given twice")));
        }
    }
    Ok(values)
}

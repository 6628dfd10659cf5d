//! Points in time as people write and read them.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use millstream::{Error, Result, Timestamp};

const TIMES: &str = "a time such as 2026-11-22T08:30:00Z";
const DURATIONS: &str = "a duration such as P7D, PT90M or 36h";

/// The time that an option names; UTC unless it says otherwise.
pub(crate) fn point_in_time(option: &str, text: &str) -> Result<Timestamp> {
    time(text).map_err(|error| Error::invalid(format!("{option} {text}: write {TIMES}")).with_source(error))
}

/// The time so long before now, as ISO 8601 or in words.
pub(crate) fn before(now: Timestamp, option: &str, text: &str) -> Result<Timestamp> {
    so_long_before(now, text)
        .map_err(|error| Error::invalid(format!("{option} {text}: write {DURATIONS}")).with_source(error))
}

/// The time that an option names, or that is so long before now.
pub(crate) fn since(now: Timestamp, option: &str, text: &str) -> Result<Timestamp> {
    time(text).or_else(|no_time| {
        so_long_before(now, text).map_err(|no_duration| {
            let why = format!("it is no time ({no_time}) and no duration ({no_duration})");
            Error::invalid(format!("{option} {text}: write {TIMES}, or {DURATIONS}")).with_source(why)
        })
    })
}

fn time(text: &str) -> Result<Timestamp, jiff::Error> {
    let in_utc = || Ok::<_, jiff::Error>(text.parse::<DateTime>()?.to_zoned(TimeZone::UTC)?.timestamp());
    let time = text.parse::<jiff::Timestamp>().or_else(|_| in_utc())?;
    Ok(Timestamp::from_millis(time.as_millisecond()))
}

fn so_long_before(now: Timestamp, text: &str) -> Result<Timestamp, jiff::Error> {
    let span: jiff::Span = text.parse()?;
    // Days are not always 24 hours long, except in UTC.
    let now = jiff::Timestamp::from_millisecond(now.as_millis())?.to_zoned(TimeZone::UTC);
    Ok(Timestamp::from_millis(now.checked_sub(span.abs())?.timestamp().as_millisecond()))
}

/// A point in time for programs, in UTC; none that no calendar has.
pub(crate) fn shown_time(time: Timestamp) -> Option<String> {
    jiff::Timestamp::from_millisecond(time.as_millis()).ok().map(|time| time.to_string())
}

/// How long ago something was, for people: in whole seconds, or whole minutes after an hour.
pub(crate) fn shown_age(time: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_millis().saturating_sub(time.as_millis()).max(0) / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s ago"),
        (0, 0, minutes) => format!("{minutes}m {}s ago", seconds % 60),
        (0, hours, minutes) => format!("{hours}h {minutes}m ago"),
        (days, hours, _) => format!("{days}d {hours}h ago"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_utc_unless_they_say_otherwise() {
        let millis = |text| point_in_time("--to-datetime", text).map(Timestamp::as_millis).ok();
        assert_eq!(millis("1970-01-01T00:01:00"), Some(60_000));
        assert_eq!(millis("1970-01-01T00:01:00.250Z"), Some(60_250));
        assert_eq!(millis("1970-01-01T01:01:00+01:00"), Some(60_000));
        assert_eq!(millis("1970-01-02"), Some(86_400_000));
        let error = point_in_time("--to-datetime", "yesterday").unwrap_err().to_string();
        assert!(error.contains("--to-datetime yesterday"), "{error}");
    }

    #[test]
    fn durations_count_back_from_now() {
        let now = Timestamp::from_millis(10 * 86_400_000);
        let millis = |text| before(now, "--by-duration", text).map(Timestamp::as_millis).ok();
        assert_eq!(millis("P7D"), Some(3 * 86_400_000));
        assert_eq!(millis("PT90M"), Some(10 * 86_400_000 - 90 * 60_000));
        assert_eq!(millis("36h"), Some(10 * 86_400_000 - 36 * 3_600_000));
        let error = before(now, "--by-duration", "long").unwrap_err().to_string();
        assert!(error.contains("--by-duration long"), "{error}");
    }

    #[test]
    fn since_is_a_time_or_a_while() {
        let now = Timestamp::from_millis(86_400_000);
        let millis = |text| since(now, "--since", text).map(Timestamp::as_millis).ok();
        assert_eq!(millis("1970-01-01T00:01:00Z"), Some(60_000));
        assert_eq!(millis("1h"), Some(23 * 3_600_000));
        let error = since(now, "--since", "yesterday").unwrap_err().to_string();
        assert!(error.contains("--since yesterday: write a time such as"), "{error}");
        let too_long = since(now, "--since", "P20000Y").unwrap_err().to_string();
        let why = so_long_before(now, "P20000Y").unwrap_err().to_string();
        assert!(too_long.contains("it is no time (") && too_long.contains(&why), "{too_long}");
    }

    #[test]
    fn an_age_is_shown_in_the_two_units_that_matter() {
        let ago = |seconds: i64| {
            shown_age(
                Timestamp::from_millis(1_000_000_000),
                Timestamp::from_millis(1_000_000_000 + seconds * 1000),
            )
        };
        let shown = [-5, 0, 59, 60, 3_599, 3_600, 86_399, 86_400, 90_000 * 10].map(ago);
        let expected = ["0s", "0s", "59s", "1m 0s", "59m 59s", "1h 0m", "23h 59m", "1d 0h", "10d 10h"];
        assert_eq!(shown, expected.map(|age| format!("{age} ago")));
        assert_eq!(shown_time(Timestamp::from_millis(1_500)).as_deref(), Some("1970-01-01T00:00:01.5Z"));
    }

    proptest! {
        #[test]
        fn arbitrary_texts_are_times_or_refused(
            time in "[0-9]{1,6}-[0-9]{1,3}-[0-9]{1,3}([T ][0-9:.]{0,12}(Z|[+-][0-9:]{0,6})?)?|\\PC*",
            duration in "-?P?T?([0-9]{1,20}[a-zA-Z .]{0,6}){0,3}|\\PC*",
            now: i64,
        ) {
            let now = Timestamp::from_millis(now);
            drop(point_in_time("--since", &time));
            drop(before(now, "--since", &duration));
            drop(since(now, "--since", &duration));
        }
    }
}

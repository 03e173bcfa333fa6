//! Answers of a policy: what `deny` and `allow` say, and that everything else denies.

use regorus::LimitError;
use regorus::Value;

use crate::policy::Refusal;

/// Holds when nothing denies and `allow` is true.
pub(super) fn verdict(answer: &Value) -> Result<(), Refusal> {
    let reasons = denials(&answer["deny"])?;
    if !reasons.is_empty() {
        return Err(Refusal::new(reasons));
    }
    match &answer["allow"] {
        Value::Bool(true) => Ok(()),
        Value::Bool(false) => Err(Refusal::new(["allow: wanted true, got false"])),
        Value::Undefined => Err(Refusal::new(["allow: wanted true, nothing makes it so"])),
        other => Err(Refusal::unknown([format!("allow: wanted true, got {other}")])),
    }
}

/// An error of the interpreter in one line: where in the text, and what.
pub(super) fn plain(error: &anyhow::Error) -> String {
    if let Some(LimitError::TimeLimitExceeded { limit, .. }) = error.downcast_ref() {
        return format!("no decision within {} ms", limit.as_millis());
    }
    let text = format!("{error:#}");
    let place = text.lines().find_map(|line| line.strip_prefix("--> "));
    // Between place and message are the line, and a mark below it.
    let what = text.split_once("\nerror: ").map_or(&*text, |(_, what)| what);
    let what: Vec<_> = what.split_whitespace().collect();
    match place {
        Some(place) => format!("{place}: {}", what.join(" ")),
        None => what.join(" "),
    }
}

fn denials(deny: &Value) -> Result<Vec<String>, Refusal> {
    Ok(match deny {
        Value::Undefined | Value::Bool(false) => Vec::new(),
        Value::Bool(true) => vec!["deny: true".to_owned()],
        Value::Array(reasons) => reasons.iter().map(reason).collect(),
        Value::Set(reasons) => reasons.iter().map(reason).collect(),
        Value::Object(reasons) => reasons.iter().map(|(key, value)| format!("{}: {value}", reason(key))).collect(),
        other => return Err(Refusal::unknown([format!("deny: wanted a set of reasons, got {other}")])),
    })
}

fn reason(value: &Value) -> String {
    value.as_string().map_or_else(|_| value.to_string(), |text| text.to_string())
}

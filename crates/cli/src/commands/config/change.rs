//! `skep config get|set|unset|edit`.

use std::process::Command;

use serde::Serialize;
use toml_edit::DocumentMut;
use toml_edit::Item;
use toml_edit::Key;
use toml_edit::Table;
use toml_edit::TableLike;
use toml_edit::Value;

use super::file;
use crate::commands::Session;
use crate::config::Config;
use crate::config::edit;
use crate::exit::Exit;
use crate::exit::Failure;
use crate::exit::Outcome;
use crate::output;
use crate::output::escape;
use crate::pointed;

#[derive(Serialize)]
struct Answer<'a> {
    schema: &'static str,
    key: &'a str,
    /// As in the file; none if it was taken out.
    value: Option<String>,
}

pub(super) fn get(session: &Session, key: &str) -> Outcome {
    let text = if session.config.is_there { pointed::text(file(session)?)? } else { String::new() };
    let document: DocumentMut =
        text.parse().map_err(|error: toml_edit::TomlError| Failure::new(Exit::Usage, error.message().to_owned()))?;
    let mut item = Some(document.as_item());
    for part in keys(key)? {
        item = item.and_then(|item| item.as_table_like()?.get(part.get()));
    }
    let Some(item) = item.filter(|item| !item.is_none()) else {
        let message = format!("{} says nothing of {key}", file(session)?.display());
        return Err(Failure::new(Exit::NotFound, message));
    };
    // Text comes without quotes, to be used in scripts.
    let value = match (item.as_str(), item.as_table()) {
        (Some(text), _) => text.to_owned(),
        (None, Some(table)) => DocumentMut::from(table.clone()).to_string().trim().to_owned(),
        (None, None) => item.to_string().trim().to_owned(),
    };
    if session.json {
        return output::json(&Answer { schema: "skep/config-value/v1", key, value: Some(value) });
    }
    let lines: Vec<_> = value.lines().map(escape).collect();
    output::text(&format!("{}\n", lines.join("\n")))
}

pub(super) fn set(session: &Session, key: &str, text: &str) -> Outcome {
    let parts = keys(key)?;
    let value: Value = text.parse().unwrap_or_else(|_| text.into());
    let shown = value.to_string().trim().to_owned();
    edit(file(session)?, |document| {
        let Some((last, tables)) = parts.split_last() else { return Ok(()) };
        let table = entered(document, tables)?;
        // What is written behind a value stays there.
        match table.get_mut(last.get()).and_then(Item::as_value_mut) {
            Some(old) => {
                let decor = old.decor().clone();
                *old = value;
                *old.decor_mut() = decor;
            }
            None => drop(table.insert(last.get(), Item::Value(value))),
        }
        Ok(())
    })?;
    let answer = Answer { schema: "skep/config-value/v1", key, value: Some(shown.clone()) };
    session.answer(&answer, || format!("{} = {}", escape(key), escape(&shown)))
}

pub(super) fn unset(session: &Session, key: &str) -> Outcome {
    let parts = keys(key)?;
    edit(file(session)?, |document| {
        let missing = || Failure::new(Exit::NotFound, format!("the file says nothing of {key}"));
        let Some((last, tables)) = parts.split_last() else { return Ok(()) };
        let mut table: &mut dyn TableLike = document.as_table_mut();
        for part in tables {
            table = table.get_mut(part.get()).and_then(Item::as_table_like_mut).ok_or_else(missing)?;
        }
        table.remove(last.get()).map(drop).ok_or_else(missing)
    })?;
    let answer = Answer { schema: "skep/config-value/v1", key, value: None };
    session.answer(&answer, || format!("{} is not said any more", escape(key)))
}

pub(super) fn open(session: &Session) -> Outcome {
    let path = file(session)?;
    let editor =
        ["VISUAL", "EDITOR"].iter().find_map(|name| std::env::var(name).ok().filter(|editor| !editor.is_empty()));
    let Some(editor) = editor else {
        let message = "neither VISUAL nor EDITOR says with what";
        return Err(Failure::new(Exit::Usage, message).hint(format!("the file is {}", path.display())));
    };
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    // These variables hold words for a shell: `code --wait`.
    let status = Command::new("sh").arg("-c").arg(format!("{editor} \"$1\"")).arg("sh").arg(path).status()?;
    if !status.success() {
        return Err(Failure::new(Exit::Other, format!("{editor} failed: {status}")));
    }
    if path.exists() {
        Config::parse(path, &pointed::text(path)?)?;
    }
    Ok(())
}

/// The names that a key is made of: `registry."a.b".plain-http` has three.
fn keys(key: &str) -> Outcome<Vec<Key>> {
    Key::parse(key).map_err(|_| {
        Failure::new(Exit::Usage, format!("{key:?} is not a key"))
            .hint("names with dots or colons stand in quotes: 'registry.\"registry.example.com\".plain-http'")
    })
}

/// The table within tables, those that are not there made.
fn entered<'a>(document: &'a mut DocumentMut, tables: &[Key]) -> Outcome<&'a mut dyn TableLike> {
    let mut table: &mut dyn TableLike = document.as_table_mut();
    for part in tables {
        let new = || {
            let mut table = Table::new();
            // Headers of tables that only hold tables are not written.
            table.set_implicit(true);
            Item::Table(table)
        };
        let item = table.entry(part.get()).or_insert_with(new);
        let Some(inner) = item.as_table_like_mut() else {
            return Err(Failure::new(Exit::Usage, format!("{} is a value, and no table", part.get())));
        };
        table = inner;
    }
    Ok(table)
}

//! `skep alias set|list|rm`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;
use skep::Address;
use skep::Store;
use toml_edit::Item;
use toml_edit::Table;
use toml_edit::value;

use super::Session;
use crate::alias::check_name;
use crate::args::Alias;
use crate::config::edit;
use crate::exit::Exit;
use crate::exit::Failure;
use crate::exit::Failures;
use crate::exit::Outcome;
use crate::output;
use crate::output::escape;

#[derive(Serialize)]
struct Listing<'a> {
    schema: &'static str,
    aliases: BTreeMap<&'a str, String>,
}

#[derive(Serialize)]
struct Changed<'a> {
    schema: &'static str,
    set: BTreeMap<&'a str, String>,
    removed: &'a [String],
}

pub(super) fn alias(session: &Session, part: Alias) -> Outcome {
    match part {
        Alias::List => list(session),
        Alias::Rm { names } => remove(session, &names),
        Alias::Set { name, address } => set(session, &name, address),
    }
}

fn list(session: &Session) -> Outcome {
    let aliases: BTreeMap<_, _> = session.config.aliases.iter().map(|(name, to)| (name, to.to_string())).collect();
    if session.json {
        return output::json(&Listing { schema: "skep/alias-list/v1", aliases });
    }
    let width = aliases.keys().map(|name| name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for (name, address) in &aliases {
        writeln!(text, "{name:<width$}  {}", escape(address)).expect("strings can be written to");
    }
    output::text(&text)
}

fn set(session: &Session, name: &str, address: Address) -> Outcome {
    check_name(name).map_err(|why| Failure::new(Exit::Usage, why))?;
    let address = from_anywhere(address)?;
    let path = super::config::file(session)?;
    edit(path, |document| {
        let aliases = document.entry("alias").or_insert_with(|| Item::Table(Table::new()));
        let Some(aliases) = aliases.as_table_like_mut() else { return Ok(()) };
        // What is written behind a value stays there.
        match aliases.get_mut(name).and_then(Item::as_value_mut) {
            Some(old) => {
                let decor = old.decor().clone();
                *old = address.to_string().into();
                *old.decor_mut() = decor;
            }
            None => drop(aliases.insert(name, value(address.to_string()))),
        }
        Ok(())
    })?;
    let set = BTreeMap::from([(name, address.to_string())]);
    session.answer(&Changed { schema: "skep/alias/v1", set, removed: &[] }, || {
        format!("@{name} is {}", escape(&address.to_string()))
    })
}

fn remove(session: &Session, names: &[String]) -> Outcome {
    let mut failures = Failures::of(names.len(), session.json);
    let mut removed = Vec::new();
    for name in names {
        let is_there = session.config.aliases.iter().any(|(there, _)| there == name);
        let known = if is_there {
            Ok(name.clone())
        } else {
            Err(Failure::new(Exit::NotFound, session.config.aliases.unknown(name)))
        };
        removed.extend(failures.note(known));
    }
    if !removed.is_empty() {
        edit(super::config::file(session)?, |document| {
            if let Some(aliases) = document.get_mut("alias").and_then(Item::as_table_like_mut) {
                removed.iter().for_each(|name| drop(aliases.remove(name)));
            }
            Ok(())
        })?;
        let changed = Changed { schema: "skep/alias/v1", set: BTreeMap::new(), removed: &removed };
        session.answer(&changed, || format!("removed {}", removed.join(", ")))?;
    }
    failures.outcome()
}

/// An address that means the same in every directory.
fn from_anywhere(address: Address) -> Outcome<Address> {
    let store = match address.store {
        Store::Layout(path) => Store::Layout(std::path::absolute::<&Path>(&path)?),
        store => store,
    };
    Ok(Address { store, ..address })
}

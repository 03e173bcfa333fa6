//! Candidates: aliases, layouts, repositories, tags and paths that begin as what was typed does.

use std::ffi::OsStr;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use clap_complete::CompletionCandidate;
use futures_util::StreamExt;
use skep::Address;
use skep::Client;
use skep::Node;
use skep::Store;
use skep_registry::RegistryExt;

use crate::config::Config;
use crate::output::size;
use crate::output::steers;

/// How long registries may take.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Names that are looked at.
const MAX_NAMES: usize = 10_000;

/// What may come next, with the words that came before.
pub(super) struct Candidates {
    config: Config,
    words: Vec<OsString>,
    /// The shell quotes what it puts into the line.
    quotes: bool,
}

impl Candidates {
    pub(super) fn new(config: Config, words: Vec<OsString>, shell: &OsStr) -> Self {
        let name = Path::new(shell).file_stem().unwrap_or(shell);
        let quotes = ["bash", "fish", "zsh"].iter().any(|quoting| name == *quoting);
        Self { config, words, quotes }
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// Addresses, and behind those with `:/` the paths in them.
    pub(super) fn references(&self, text: &str) -> Vec<CompletionCandidate> {
        let scheme = ["oci:", "http://", "https://"]
            .iter()
            .find(|scheme| text.starts_with(**scheme))
            .map_or(0, |scheme| scheme.len());
        if let Some(at) = text[scheme..].find(":/") {
            let (head, path) = (&text[..scheme + at], &text[scheme + at + 2..]);
            return self
                .config
                .aliases
                .address(head)
                .map(|of| self.paths(&of, &text[..scheme + at + 2], path))
                .unwrap_or_default();
        }
        if let Some((head, tag)) = text.rsplit_once(':').filter(|(head, tag)| *head != "oci" && !tag.contains('/'))
            && let Ok(address) = self.config.aliases.address(head)
        {
            return self.tags(&address, &format!("{head}:"), tag);
        }
        if let Some(path) = text.strip_prefix("oci:") {
            return self.layouts(path);
        }
        if text.starts_with('@') && !text.contains('/') {
            return self.aliases("@", text);
        }
        if text.contains('/') {
            return self.repositories(text);
        }
        let hosts = self.config.registries.keys().map(|host| format!("{host}/"));
        let starts = hosts.chain(["oci:".to_owned()]).filter(|start| start.starts_with(text)).collect::<Vec<_>>();
        let mut candidates = if text.is_empty() { self.aliases("@", "") } else { Vec::new() };
        candidates.extend(starts.into_iter().filter_map(|start| self.candidate(start, None)));
        candidates
    }

    pub(super) fn aliases(&self, sign: &str, text: &str) -> Vec<CompletionCandidate> {
        let named = self.config.aliases.iter().map(|(name, address)| (format!("{sign}{name}"), address));
        let fitting = named.filter(|(name, _)| name.starts_with(text));
        fitting.filter_map(|(name, address)| self.candidate(name, Some(address.to_string()))).collect()
    }

    /// Tags of what an earlier word refers to.
    pub(super) fn tags_of_reference(&self, text: &str) -> Vec<CompletionCandidate> {
        self.reference().map(|address| self.tags(&address, "", text)).unwrap_or_default()
    }

    /// Paths in what an earlier word refers to.
    pub(super) fn paths_of_reference(&self, text: &str) -> Vec<CompletionCandidate> {
        self.reference().map(|address| self.paths(&address, "", text)).unwrap_or_default()
    }

    /// The first word that is an address; directories, files and tags are none.
    fn reference(&self) -> Option<Address> {
        let words = self.words.iter().skip(1).filter_map(|word| word.to_str());
        words.filter_map(|word| self.config.aliases.address(word).ok()).next()
    }

    /// Directories here, those that are layouts without a slash.
    fn layouts(&self, text: &str) -> Vec<CompletionCandidate> {
        let (dir, start) = text.rsplit_once('/').map_or(("", text), |(dir, _)| text.split_at(dir.len() + 1));
        let Ok(found) = std::fs::read_dir(if dir.is_empty() { "." } else { dir }) else { return Vec::new() };
        let named = found.filter_map(|item| item.ok()?.file_name().into_string().ok());
        let mut names: Vec<_> = named.filter(|name| name.starts_with(start)).take(MAX_NAMES).collect();
        names.sort_unstable();
        let shown = |name: String| {
            let path = format!("{dir}{name}");
            let is_layout = Path::new(&path).join("oci-layout").exists();
            let end = if is_layout { "" } else { "/" };
            Path::new(&path).is_dir().then(|| self.candidate(format!("oci:{path}{end}"), None)).flatten()
        };
        names.into_iter().filter_map(shown).collect()
    }

    fn repositories(&self, text: &str) -> Vec<CompletionCandidate> {
        let (scheme, rest) = text.split_at(text.find("://").map_or(0, |at| at + 3));
        let Some((host, start)) = rest.split_once('/') else { return Vec::new() };
        // A repository has to be named, whichever it is, to have an address and with it a way to the registry.
        let Ok(Address { store: Store::Repository { host, scheme: how, .. }, .. }) =
            format!("{scheme}{host}/x").parse()
        else {
            return Vec::new();
        };
        let client = Client::new(self.config.client());
        let names = asked(async {
            let registry = client.host(&host, how).ok()?;
            Some(registry.repos().take(MAX_NAMES).filter_map(async |repo| repo.ok()).collect::<Vec<_>>().await)
        });
        let names =
            names.unwrap_or_default().into_iter().map(|repo| repo.to_string()).filter(|repo| repo.starts_with(start));
        names
            .filter_map(|repo| self.candidate(format!("{scheme}{}{repo}", &rest[..rest.len() - start.len()]), None))
            .collect()
    }

    fn tags(&self, address: &Address, before: &str, start: &str) -> Vec<CompletionCandidate> {
        let client = Client::new(self.config.client());
        let tags = asked(async {
            let (registry, repo) = client.registry(&address.store).ok()?;
            Some(registry.tags(&repo).take(MAX_NAMES).filter_map(async |tag| tag.ok()).collect::<Vec<_>>().await)
        });
        let tags = tags.unwrap_or_default().into_iter().filter(|tag| tag.as_str().starts_with(start));
        tags.filter_map(|tag| self.candidate(format!("{before}{tag}"), None)).collect()
    }

    fn paths(&self, address: &Address, before: &str, text: &str) -> Vec<CompletionCandidate> {
        let (dir, start) = text.split_at(text.rfind('/').map_or(0, |at| at + 1));
        let client = Client::new(self.config.client());
        let Some(archive) = asked(async { client.pull(address).await.ok() }) else { return Vec::new() };
        let Ok(nodes) = archive.read_dir(dir) else { return Vec::new() };
        let fitting = nodes.into_iter().filter(|(name, _)| name.starts_with(start));
        let shown = |(name, node): (&str, Node<'_>)| {
            let (end, help) = match node {
                Node::Directory(_) => ("/", None),
                Node::File(file) => ("", Some(size(file.original_size))),
                Node::Symlink(link) => ("", Some(format!("-> {}", link.target))),
            };
            self.candidate(format!("{before}{dir}{name}{end}"), help)
        };
        fitting.filter_map(shown).take(MAX_NAMES).collect()
    }

    /// Foreign names stand on a line that is run: none that steers the terminal, and where the shell does not quote
    /// them, none that means something to it.
    fn candidate(&self, value: String, help: Option<String>) -> Option<CompletionCandidate> {
        let is_plain = |c: char| c.is_alphanumeric() || "/._-:@+=,%".contains(c);
        if value.contains(steers) || value.starts_with('-') || (!self.quotes && !value.chars().all(is_plain)) {
            return None;
        }
        let help = help.filter(|help| !help.contains(steers));
        Some(CompletionCandidate::new(value).help(help.map(Into::into)))
    }
}

/// What a registry answers, if it does so in time.
fn asked<T>(work: impl Future<Output = Option<T>>) -> Option<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().ok()?;
    let came = runtime.block_on(async { tokio::time::timeout(PATIENCE, work).await.ok().flatten() });
    runtime.shutdown_background();
    came
}

//! The wire: headers and bodies that both sides speak, each parsed and printed in one place.

use std::ops::Range;

use http::HeaderMap;
use http::header::HeaderName;
use serde::Deserialize;
use serde::Serialize;
use skep_registry::ByteRange;
use skep_registry::Code;
use skep_registry::Descriptor;
use skep_registry::Error;
use skep_registry::Result;
use skep_registry::media_type;

/// What Docker's clients look for before anything else.
pub(crate) const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
/// The digest of the content that a response carries or is about.
pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// Bytes that every chunk of an upload but the last has at least (spec, end-4a).
pub(crate) const CHUNK_MIN_LENGTH: HeaderName = HeaderName::from_static("oci-chunk-min-length");
/// Which filters a list of referrers went through, separated by commas (spec, end-12b).
pub(crate) const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");
/// The subject that the registry has taken notice of (spec, "Pushing Manifests with Subject").
pub(crate) const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
/// A tag that was set with the manifest (spec, end-7b).
pub(crate) const TAG: HeaderName = HeaderName::from_static("oci-tag");
/// Bytes of an upload that the registry has (draft-ietf-httpbis-resumable-upload).
///
/// `Range: 0-0` says that it has none, or one; this header says which.
pub(crate) const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");

/// The one filter of lists of referrers.
pub(crate) const ARTIFACT_TYPE: &str = "artifactType";

/// The body of a list of tags.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct TagList {
    /// The repository.
    #[serde(default)]
    pub(crate) name: String,
    /// The tags; `null` where a registry has none.
    #[serde(default)]
    pub(crate) tags: Option<Vec<String>>,
}

/// The body of a list of repositories.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct RepoList {
    /// The repositories; `null` where a registry has none.
    #[serde(default)]
    pub(crate) repositories: Option<Vec<String>>,
}

/// The body of a list of referrers: an index.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReferrerList {
    /// 2, always.
    #[serde(default)]
    pub(crate) schema_version: u64,
    /// That of an index.
    #[serde(default)]
    pub(crate) media_type: String,
    /// The referrers; `null` where a registry has none.
    #[serde(default)]
    pub(crate) manifests: Option<Vec<Descriptor>>,
}

impl ReferrerList {
    /// The list of some referrers.
    pub(crate) fn new(manifests: Vec<Descriptor>) -> Self {
        Self { schema_version: 2, media_type: media_type::INDEX.to_owned(), manifests: Some(manifests) }
    }
}

/// The `mediaType` that a manifest states of itself.
///
/// # Errors
/// What JSON has to say, when the bytes are not an object.
pub(crate) fn stated_media_type(manifest: &[u8]) -> serde_json::Result<Option<String>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Typed {
        #[serde(default)]
        media_type: Option<String>,
    }

    // A struct would be read from a list too.
    if !manifest.trim_ascii_start().starts_with(b"{") {
        return Err(serde::de::Error::custom("a manifest is an object"));
    }
    serde_json::from_slice::<Typed>(manifest).map(|typed| typed.media_type)
}

/// The text of a header, if it is there once and is text.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
}

/// A media type without its parameters.
///
/// spec, "Pulling manifests": parameters SHOULD be ignored.
pub(crate) fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

/// Parses a `Range` header. None if it is one to ignore: another unit, or several ranges at once, which a
/// server may answer with the whole (RFC 9110, 14.2).
///
/// # Errors
/// `RangeInvalid` when it is malformed.
pub(crate) fn parse_range(header: &str) -> Result<Option<ByteRange>> {
    let invalid = || Error::new(Code::RangeInvalid, format!("{header:?}"));
    let Some((unit, set)) = header.split_once('=') else { return Err(invalid()) };
    if !unit.trim().eq_ignore_ascii_case("bytes") || set.contains(',') {
        return Ok(None);
    }
    let (first, last) = set.trim().split_once('-').ok_or_else(invalid)?;
    let range = match (first, last) {
        ("", last) => ByteRange::Last(number(last).ok_or_else(invalid)?),
        (first, "") => ByteRange::From(number(first).ok_or_else(invalid)?),
        (first, last) => {
            let (first, last) = number(first).zip(number(last)).ok_or_else(invalid)?;
            if last < first {
                return Err(invalid());
            }
            ByteRange::Span(first, last.saturating_add(1))
        }
    };
    Ok(Some(range))
}

/// Prints the `Content-Range` header of a part.
pub(crate) fn content_range(range: &Range<u64>, size: u64) -> String {
    format!("bytes {}-{}/{size}", range.start, range.end - 1)
}

/// Parses the `Content-Range` header of a part: the bytes, and the size of the whole if it is known.
pub(crate) fn parse_content_range(header: &str) -> Option<(Range<u64>, Option<u64>)> {
    let (unit, rest) = header.split_once(' ')?;
    let (range, size) = rest.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let range = number(first)?..number(last)?.checked_add(1)?;
    let size = if size == "*" { None } else { Some(number(size)?) };
    let sound = unit.eq_ignore_ascii_case("bytes") && range.start < range.end;
    (sound && size.is_none_or(|size| range.end <= size)).then_some((range, size))
}

/// Prints which bytes a chunk of an upload has. It must have one.
///
/// spec, "Pushing a blob in chunks": `^[0-9]+-[0-9]+$`.
pub(crate) fn chunk_range(range: &Range<u64>) -> String {
    format!("{}-{}", range.start, range.end - 1)
}

/// Parses which bytes a chunk of an upload has; clients also write it as RFC 9110 has it, `bytes 0-9/*`.
pub(crate) fn parse_chunk_range(header: &str) -> Option<Range<u64>> {
    let rest = header.trim();
    let rest = rest.strip_prefix("bytes").map_or(rest, |rest| rest.trim_start_matches([' ', '=']));
    let (first, last) = rest.split('/').next()?.split_once('-')?;
    let range = number(first)?..number(last)?.checked_add(1)?;
    (range.start < range.end).then_some(range)
}

/// Prints how far an upload has come, as its `Range` header: the last byte is included, so none looks like one.
pub(crate) fn upload_range(offset: u64) -> String {
    format!("0-{}", offset.saturating_sub(1))
}

/// Parses how far an upload has come.
///
/// `0-0` is taken for none, as registries say it of new uploads; some say `0--1`.
pub(crate) fn parse_upload_range(header: &str) -> Option<u64> {
    let header = header.trim();
    let rest = header.strip_prefix("bytes").map_or(header, |rest| rest.trim_start_matches([' ', '=']));
    match rest.strip_prefix("0-")? {
        "-1" => Some(0),
        last => match number(last)? {
            0 => Some(0),
            last => last.checked_add(1),
        },
    }
}

/// Prints a `Link` header to the next page.
pub(crate) fn next_link(target: &str) -> String {
    format!("<{target}>; rel=\"next\"")
}

/// Finds the next page in `Link` headers: the link of that relation, or else the first that names none.
pub(crate) fn parse_next_link<'a>(headers: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let mut unnamed = None;
    for header in headers {
        let mut rest = header;
        while let Some((_, from)) = rest.split_once('<') {
            let Some((target, params)) = from.split_once('>') else { break };
            // Parameters reach to the comma before the next link; a quoted value could hold a comma, a `<` cannot be
            // told from the next link then, and no registry does that.
            let end = params.find('<').unwrap_or(params.len());
            let relation = params[..end].split([';', ',']).find_map(|param| {
                let (key, value) = param.split_once('=')?;
                key.trim().eq_ignore_ascii_case("rel").then(|| value.trim().trim_matches('"'))
            });
            match relation {
                Some(names) if names.split_ascii_whitespace().any(|name| name.eq_ignore_ascii_case("next")) => {
                    return Some(target.trim().to_owned());
                }
                Some(_) => {}
                None => unnamed = unnamed.or_else(|| Some(target.trim().to_owned())),
            }
            rest = &params[end..];
        }
    }
    unnamed
}

/// Parses a `Warning` header into its texts for people: `299 - "text"` (RFC 7234, 5.5; spec, "Warnings").
///
/// Other codes are for caches. Control characters are left out, and what follows something malformed.
pub(crate) fn parse_warnings(header: &str) -> Vec<String> {
    let mut texts = Vec::new();
    let mut rest = header;
    while let Some((head, quoted)) = rest.split_once('"') {
        let (mut text, mut end, mut chars) = (String::new(), None, quoted.char_indices());
        while let Some((at, char)) = chars.next() {
            match char {
                '"' => {
                    end = Some(at + 1);
                    break;
                }
                '\\' => text.extend(chars.next().map(|(_, char)| char)),
                char => text.push(char),
            }
        }
        let Some(end) = end else { break };
        if head.trim_start_matches([' ', ',']).split(' ').next() == Some("299") {
            text.retain(|char| !char.is_control());
            texts.push(text);
        }
        rest = &quoted[end..];
        // A date may follow, in quotes of its own.
        if let Some(date) = rest.strip_prefix(" \"") {
            rest = date.split_once('"').map_or("", |(_, rest)| rest);
        }
    }
    texts
}

/// A number in decimal digits and nothing else.
pub(crate) fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_parse_as_http_has_them() {
        for (header, want) in [
            ("bytes=0-0", Ok(Some(ByteRange::Span(0, 1)))),
            ("bytes=2-5", Ok(Some(ByteRange::Span(2, 6)))),
            ("Bytes=2-5", Ok(Some(ByteRange::Span(2, 6)))),
            ("bytes=0-18446744073709551615", Ok(Some(ByteRange::Span(0, u64::MAX)))),
            ("bytes=4-", Ok(Some(ByteRange::From(4)))),
            ("bytes=-4", Ok(Some(ByteRange::Last(4)))),
            ("items=0-1", Ok(None)),
            ("bytes=0-1,3-4", Ok(None)),
            ("bytes=500-0", Err(())),
            ("bytes=", Err(())),
            ("bytes=-", Err(())),
            ("bytes=a-b", Err(())),
            ("bytes=+1-2", Err(())),
            ("bytes=0--1", Err(())),
            ("bytes=18446744073709551616-", Err(())),
            ("bytes 0-1", Err(())),
        ] {
            assert_eq!(parse_range(header).map_err(drop), want, "{header}");
        }
    }

    #[test]
    fn content_ranges_parse_only_when_they_are_sound() {
        for (header, want) in [
            ("bytes 0-4/10", Some((0..5, Some(10)))),
            ("bytes 5-9/*", Some((5..10, None))),
            ("bytes 5-10/10", None),
            ("bytes 5-4/10", None),
            ("bytes */10", None),
            ("bytes 0-4", None),
            ("items 0-4/10", None),
            ("bytes 0-18446744073709551615/*", None),
        ] {
            assert_eq!(parse_content_range(header), want, "{header}");
        }
    }

    #[test]
    fn chunk_ranges_come_in_two_spellings() {
        for (header, want) in [
            ("0-4", Some(0..5)),
            ("bytes 5-9/20", Some(5..10)),
            ("bytes=5-9", Some(5..10)),
            ("0-0", Some(0..1)),
            ("4-0", None),
            ("0-bar", None),
            ("-4", None),
            ("0", None),
            ("", None),
        ] {
            assert_eq!(parse_chunk_range(header), want, "{header}");
        }
    }

    #[test]
    fn upload_ranges_may_say_nothing_in_two_ways() {
        for (header, want) in [
            ("0-0", Some(0)),
            ("0--1", Some(0)),
            ("0-00", Some(0)),
            ("0-1", Some(2)),
            ("bytes=0-9", Some(10)),
            ("1-9", None),
            ("0-", None),
            ("0--2", None),
        ] {
            assert_eq!(parse_upload_range(header), want, "{header}");
        }
    }

    #[test]
    fn the_next_link_is_found_among_others() {
        for (headers, want) in [
            (&["</v2/a/tags/list?n=1&last=b>; rel=\"next\""][..], Some("/v2/a/tags/list?n=1&last=b")),
            (&["<a>; rel=prev, <b>; rel=next"], Some("b")),
            (&["<a>; rel=prev", "<b>; title=x; REL=\"last next\""], Some("b")),
            (&["<b>"], Some("b")),
            (&["<a>, <b>; rel=next"], Some("b")),
            (&["<a>; rel=prev"], None),
            (&["<a"], None),
            (&[""], None),
        ] {
            assert_eq!(parse_next_link(headers.iter().copied()).as_deref(), want, "{headers:?}");
        }
    }

    #[test]
    fn warnings_for_people_are_read() {
        for (header, want) in [
            (r#"299 - "going away""#, &["going away"][..]),
            (r#"299 r.example.com "a \"b\" \\ c""#, &[r#"a "b" \ c"#]),
            (r#"299 - "one, two", 299 - "three""#, &["one, two", "three"]),
            (r#"299 - "a" "Sat, 21 Nov 2026 08:00:00 GMT", 299 - "b""#, &["a", "b"]),
            (r#"110 - "stale", 299 - "b""#, &["b"]),
            (r#"299 - "a"#, &[]),
            ("299 - a", &[]),
            ("", &[]),
        ] {
            assert_eq!(parse_warnings(header), want, "{header}");
        }
    }

    proptest! {
        #[test]
        fn ranges_parse_from_what_they_print(start in 0u64..1 << 60, len in 1u64..1 << 60, more in 0u64..1 << 60) {
            let range = start..start + len;
            prop_assert_eq!(parse_chunk_range(&chunk_range(&range)), Some(range.clone()));
            let printed = content_range(&range, range.end + more);
            prop_assert_eq!(parse_content_range(&printed), Some((range.clone(), Some(range.end + more))));
            prop_assert_eq!(parse_upload_range(&upload_range(len + 1)), Some(len + 1));
            for range in [ByteRange::From(start), ByteRange::Last(len), range.into()] {
                prop_assert_eq!(parse_range(&range.to_string()).unwrap(), Some(range));
            }
        }

        #[test]
        fn no_header_makes_a_parser_panic(header in "\\PC{0,30}|bytes[ =]?[0-9-]{0,30}(/[0-9*]{0,3})?|(<|>|;|,|rel=|next){0,9}") {
            let _ = (parse_range(&header), parse_content_range(&header), parse_chunk_range(&header));
            let _ = (parse_upload_range(&header), parse_next_link([header.as_str()]), parse_warnings(&header));
        }
    }
}

//! Answers that the double gives on its own.

use http::HeaderName;
use http::HeaderValue;
use http::Response;
use http::StatusCode;
use http::header;
use serde_json::Value;
use serde_json::json;
use skep_registry::Body;

use crate::server::ResponseBody;

/// An error body.
pub(super) fn refuse(status: u16, code: &str, message: &str) -> Response<ResponseBody> {
    say_json(status, &json!({ "errors": [{ "code": code, "message": message }] }))
}

pub(super) fn say_json(status: u16, value: &Value) -> Response<ResponseBody> {
    say(status, "application/json", value.to_string())
}

/// A page for people, as a server before the registry makes it.
pub(super) fn page(status: u16, title: &str) -> Response<ResponseBody> {
    let text = format!("<html>\r\n<head><title>{status} {title}</title></head>\r\n<body></body>\r\n</html>\r\n");
    say(status, "text/html", text)
}

pub(super) fn say(status: u16, content_type: &str, text: String) -> Response<ResponseBody> {
    let mut answer = empty(status);
    set(&mut answer, header::CONTENT_TYPE, content_type);
    set(&mut answer, header::CONTENT_LENGTH, &text.len().to_string());
    *answer.body_mut() = ResponseBody::from(Body::from(bytes::Bytes::from(text)));
    answer
}

pub(super) fn empty(status: u16) -> Response<ResponseBody> {
    let mut answer = Response::new(ResponseBody::from(Body::empty()));
    *answer.status_mut() = StatusCode::from_u16(status).expect("statuses of profiles have three digits");
    answer
}

/// Gives a header a value.
pub(super) fn set(answer: &mut Response<ResponseBody>, name: HeaderName, value: &str) {
    let value = HeaderValue::from_str(value).expect("hosts, paths and words of profiles can stand in a header");
    answer.headers_mut().insert(name, value);
}

//! `POST /switchover`, `/pause`, `/resume`, `/step-down`: what changes something.
//!
//! Owns the check of the token. Without a token in the configuration nobody may change anything. The comparison
//! takes the same time wherever the texts differ.

use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::extract::rejection::BytesRejection;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq;

use super::Shared as Endpoints;
use super::body::Reply;
use crate::config::Secret;

pub(super) async fn operate(
    Shared(endpoints): Shared<Endpoints>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let Some(token) = &endpoints.token else {
        let message = "http.auth.token is not configured: nothing can be changed through this address";
        return Reply::error(StatusCode::FORBIDDEN, message).into_response();
    };
    if !authorised(token, &headers) {
        let message = "the token is missing or wrong; send it as 'Authorization: Bearer …'";
        let mut response = Reply::error(StatusCode::UNAUTHORIZED, message).into_response();
        let challenge = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        return response;
    }
    if let Err(rejection) = body {
        return Reply::error(rejection.status(), "the body cannot be read or is too large").into_response();
    }
    let message = "this instance runs single: there is no other to lead";
    Reply::error(StatusCode::NOT_IMPLEMENTED, message).into_response()
}

fn authorised(token: &Secret, headers: &HeaderMap) -> bool {
    let Some((scheme, given)) = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
    else {
        return false;
    };
    // A token out of a file often has a line break at its end.
    let token = token.expose().trim();
    // Hashes are of one length, so that the comparison does not tell the token's.
    let given = digest(&SHA256, given.trim().as_bytes());
    let wanted = digest(&SHA256, token.as_bytes());
    scheme.eq_ignore_ascii_case("bearer")
        && !token.is_empty()
        && bool::from(given.as_ref().ct_eq(wanted.as_ref()))
}

//! `POST /switchover`, `/pause`, `/resume`, `/step-down`: what changes something.
//!
//! Owns the check of the token, and the wait for what comes of an order. Without a token in the configuration nobody
//! may change anything. The comparison takes the same time wherever the texts differ, and comes before the body is
//! read. An order that was handed in is carried out whether or not its sender still waits.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq;

use super::Shared;
use super::body::Reply;
use super::order::{self, Kind};
use super::stream::Deadline;
use crate::config::Secret;

/// A request by somebody who may give orders, whole.
pub(super) struct Asked {
    endpoints: Shared,
    body: Bytes,
    /// Of the answer; `None` where no connection is waiting for it.
    deadline: Option<Deadline>,
}

impl FromRequest<Shared> for Asked {
    type Rejection = Response;

    async fn from_request(request: Request, endpoints: &Shared) -> Result<Self, Response> {
        let Some(token) = &endpoints.token else {
            let message = "http.auth.token is not configured: nothing can be changed through this address";
            return Err(Reply::error(StatusCode::FORBIDDEN, message).into_response());
        };
        if !authorised(token, request.headers()) {
            let message = "the token is missing or wrong; send it as 'Authorization: Bearer …'";
            let mut response = Reply::error(StatusCode::UNAUTHORIZED, message).into_response();
            let challenge = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            return Err(response);
        }
        let deadline = request.extensions().get::<Deadline>().cloned();
        let body = Bytes::from_request(request, endpoints)
            .await
            .map_err(|rejection| {
                Reply::error(rejection.status(), "the body cannot be read or is too large").into_response()
            })?;
        Ok(Self {
            endpoints: Shared::clone(endpoints),
            body,
            deadline,
        })
    }
}

pub(super) async fn operate(kind: Kind, asked: Asked) -> Reply {
    let endpoints = &asked.endpoints;
    let Some(desk) = &endpoints.desk else {
        let message = "this instance runs single: there is no other to lead";
        return Reply::error(StatusCode::NOT_IMPLEMENTED, message);
    };
    let order = match order::read(kind, &asked.body) {
        Ok(order) => order,
        Err(message) => return Reply::error(StatusCode::BAD_REQUEST, &message),
    };
    if let Some(deadline) = &asked.deadline {
        deadline.extend(endpoints.patience);
    }
    order::reply(&desk.order(order, endpoints.patience).await)
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

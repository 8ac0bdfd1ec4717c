//! The user that ECS takes us for.
//!
//! Owns the reading of `/user/whoami`, whose form differs between releases. Judges nothing: which role is enough is for
//! whoever asks.

use serde_json::Value;

use super::client::{Client, Query};
use super::error::EcsError;

const WHOAMI: &str = "/user/whoami";

/// What ECS says of the user.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Account {
    /// Such as `SYSTEM_MONITOR`.
    pub roles: Vec<String>,
    /// The password must be changed before anything else is answered.
    pub must_change_password: bool,
    /// The password is too old.
    pub has_expired_password: bool,
}

impl Client {
    /// Logs in, unless that is done already.
    pub async fn log_in(&self) -> Result<(), EcsError> {
        self.session.token(|| self.login()).await.map(|_| ())
    }

    /// Asks who we are.
    pub async fn account(&self) -> Result<Account, EcsError> {
        let body = self.fetch_whole(&Query::get(WHOAMI)).await?;
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        Ok(Account::of(&answer))
    }
}

impl Account {
    /// Before 3.6 all is below `user`, and the roles are `{"role": […]}`.
    fn of(answer: &Value) -> Self {
        let user = answer
            .get("user")
            .filter(|user| user.is_object())
            .unwrap_or(answer);
        let roles = user.get("roles").or_else(|| user.get("role"));
        let roles = roles.map(|roles| roles.get("role").unwrap_or(roles));
        let roles = match roles {
            Some(Value::Array(roles)) => roles
                .iter()
                .filter_map(|role| role.as_str().map(str::to_owned))
                .collect(),
            Some(Value::String(role)) => vec![role.clone()],
            _ => Vec::new(),
        };
        let is_set = |name: &str| match user.get(name) {
            Some(Value::Bool(set)) => *set,
            Some(Value::String(text)) => text == "true",
            _ => false,
        };
        Self {
            roles,
            must_change_password: is_set("user_must_reset_password"),
            has_expired_password: is_set("user_password_has_expired"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_release_tells_the_roles_its_own_way() {
        let roles = |answer: Value| Account::of(&answer).roles;
        for answer in [
            json!({"common_name": "m", "roles": ["SYSTEM_MONITOR", "SYSTEM_ADMIN"]}),
            json!({"user": {"common_name": "m", "roles": {"role": ["SYSTEM_MONITOR", "SYSTEM_ADMIN"]}}}),
            json!({"user": "m", "role": ["SYSTEM_MONITOR", "SYSTEM_ADMIN"]}),
        ] {
            assert_eq!(
                roles(answer.clone()),
                ["SYSTEM_MONITOR", "SYSTEM_ADMIN"],
                "{answer}"
            );
        }
        assert_eq!(
            roles(json!({"roles": {"role": "SYSTEM_MONITOR"}})),
            ["SYSTEM_MONITOR"]
        );
        for none in [
            json!({"roles": []}),
            json!({"roles": null}),
            json!([]),
            Value::Null,
        ] {
            assert_eq!(Account::of(&none), Account::default());
        }
    }

    #[test]
    fn passwords_that_are_no_longer_good_are_told() {
        let of = |must: Value, expired: Value| {
            let account = Account::of(
                &json!({"roles": [], "user_must_reset_password": must, "user_password_has_expired": expired}),
            );
            (account.must_change_password, account.has_expired_password)
        };
        assert_eq!(of(json!(true), json!("false")), (true, false));
        assert_eq!(of(json!("true"), json!(null)), (true, false));
        assert_eq!(of(json!(false), json!(true)), (false, true));
    }
}

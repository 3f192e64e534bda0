//! Forms of pages behind the login. There is no other way to read one, so none goes unchecked.

use axum::{
    Form,
    extract::{FromRequest, Request},
    http::StatusCode,
};

use super::login::Visitor;
use crate::{auth::is_same_secret, pages::error::PageError};

/// The field that carries the token of the session.
pub const FIELD: &str = "csrf";

/// The fields of a form that one of our pages made for this session.
#[derive(Debug)]
pub struct CheckedForm {
    /// Who sent it.
    pub visitor: Visitor,
    /// The fields in order, without the token.
    pub fields: Vec<(String, String)>,
}

impl CheckedForm {
    /// The first value of a field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl<S: Send + Sync> FromRequest<S> for CheckedForm {
    type Rejection = PageError;

    async fn from_request(request: Request, state: &S) -> Result<Self, PageError> {
        let visitor = request.extensions().get::<Visitor>().cloned();
        let form = Form::<Vec<(String, String)>>::from_request(request, state).await;
        let Form(mut fields) = form.map_err(|rejection| {
            PageError::new(rejection.status(), "The form could not be read")
                .with_text(rejection.body_text())
        })?;
        let Some(visitor) = visitor else { return Err(refused()) };
        let is_ours = fields
            .iter()
            .any(|(key, value)| key == FIELD && is_same_secret(value, &visitor.session.csrf));
        fields.retain(|(key, _)| key != FIELD);
        if is_ours { Ok(Self { visitor, fields }) } else { Err(refused()) }
    }
}

fn refused() -> PageError {
    PageError::new(StatusCode::FORBIDDEN, "This form is out of date")
        .with_text("It belongs to another session, and nothing was changed.")
        .with_hint("Go back, reload the page, and try again.")
}

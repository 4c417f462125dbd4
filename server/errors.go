package server

import (
	"errors"
	"time"
)

// Code is what went wrong, as the core sees it. The set is closed: handlers has one row for each, in each dialect.
type Code string

// The codes. What a code becomes on the wire (status, error, description) is the business of package handlers.
const (
	// MissingGrant : no grant_type was sent.
	MissingGrant Code = "missing_grant"
	// UnsupportedGrant : the grant type is none of ours.
	UnsupportedGrant Code = "unsupported_grant"
	// InvalidClient : the client is unknown or did not prove itself.
	InvalidClient Code = "invalid_client"
	// MissingParameter : a parameter that the grant needs was not sent.
	MissingParameter Code = "missing_parameter"
	// Malformed : a parameter has a value that cannot be, or two values, or there are two client authentications.
	Malformed Code = "malformed"
	// WrongCredentials : unknown customer, wrong password, or a customer who may not sign in. All look the same.
	WrongCredentials Code = "wrong_credentials" //nolint:gosec // names a refusal, holds no credential
	// BadRefreshToken : not ours, expired, ended, used, or another client's. All look the same.
	BadRefreshToken Code = "bad_refresh_token"
	// InvalidScope : a scope that this client or session may not have.
	InvalidScope Code = "invalid_scope"
	// BadAccessToken : not ours, expired, ended, or of nobody who is a customer. All look the same.
	BadAccessToken Code = "bad_access_token"
	// NotAllowed : a client that has proved itself may not ask for this.
	NotAllowed Code = "not_allowed"
	// NothingFound : no session and no customer is what an operator asked for.
	NothingFound Code = "nothing_found"
	// Limited : too many passwords were tried for this account or from this address. Known and unknown accounts look the same.
	Limited Code = "limited"
	// Unavailable : we could not decide (queue full, store or customer database down). Never a verdict.
	Unavailable Code = "unavailable"
	// Internal : a bug of ours.
	Internal Code = "internal"
)

// Codes returns every code, for tests that walk them all.
func Codes() []Code {
	return []Code{
		MissingGrant, UnsupportedGrant, InvalidClient, MissingParameter, Malformed,
		WrongCredentials, BadRefreshToken, InvalidScope, BadAccessToken, NotAllowed, NothingFound, Limited, Unavailable, Internal,
	}
}

// Error is a refusal: a code for the client, a cause for the log. Neither ever holds a secret.
type Error struct {
	Code  Code
	Cause error // nil when the code says it all

	RetryAfter time.Duration // whole seconds until it makes sense to ask again, where that is known: of Limited
}

func (e *Error) Error() string {
	if e.Cause == nil {
		return string(e.Code)
	}
	return string(e.Code) + ": " + e.Cause.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// CodeOf returns the code of an error that came out of this package, [Internal] for any other.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return Internal
}

func refuse(code Code, cause error) *Error { return &Error{Code: code, Cause: cause} }

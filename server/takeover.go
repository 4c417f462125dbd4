package server

import (
	"context"
	"errors"
	"time"

	"github.com/glueauth/glueauth/store"
)

// takeOver is what becomes of a shop's token of whose session the store has no record: the shop is asked, where there is one
// to ask, and then the session is taken over. Whether the token may be used is decided by the table, as ever.
func (i *issuer) takeOver(ctx context.Context, r store.Rotation, p proof) (store.RotateResult, error) {
	now, shop := i.config.Now(), p.presented.shop
	cause, err := i.refusedByShop(ctx, shop, now)
	if err != nil {
		return store.RotateResult{}, err
	}
	if cause != "" { // which counts only if no other tab has taken it over meanwhile
		result, err := i.config.Sessions.Rotate(ctx, r)
		if err == nil && result.Cause == store.CauseMissing {
			result.Cause = cause
		}
		return result, err //nolint:wrapcheck // rotate wraps it
	}
	a := store.Adoption{
		Rotation: r, Granted: shop.scopes, MaxLife: p.client.MaxLife(now).Sub(now), MaxOpen: i.config.Refresh.MaxSessions,
	}
	if err := i.randomise(a.FreshEpoch[:]); err != nil {
		return store.RotateResult{}, err
	}
	if p.client.Subject == SubjectGlue && subMark(shop.reference, shop.company) == r.SubMark {
		a.Sub = shop.sub
	}
	result, err := i.config.Sessions.Adopt(ctx, a)
	if err == nil && result.Outcome == store.Rotated {
		i.config.Event(ctx, Event{Name: EventTakenOver, Client: r.Client, Subject: r.Subject, Session: r.Name})
		i.markTaken(ctx, shop, r)
	}
	return result, err //nolint:wrapcheck // rotate wraps it
}

// refusedByShop returns why a token must not be taken over, "" if it may.
func (i *issuer) refusedByShop(ctx context.Context, t *shopToken, now time.Time) (store.Cause, error) {
	legacy := i.config.Legacy
	if !legacy.Until.IsZero() && !now.Before(legacy.Until) {
		return causeOver, nil
	}
	if legacy.Tokens == nil {
		return "", nil
	}
	row, err := legacy.Tokens.ShopToken(ctx, t.id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return causeShopUnknown, nil
	case err != nil:
		return "", err //nolint:wrapcheck // rotate wraps it
	case row.Revoked:
		return causeShopRevoked, nil
	case row.Client != t.client:
		return causeShopClient, nil
	case !sameExpiry(row.ExpiresAt, t.expiresAt):
		return causeShopExpiry, nil
	case row.CustomerReference != "" && row.CustomerReference != t.reference: // older shops have none
		return causeShopOwner, nil
	default:
		return "", nil
	}
}

// sameExpiry compares the expiry in the shop's table with a token's. The table has it in the time zone of the shop's server,
// which is not known for sure: whole quarters of an hour make no difference.
func sameExpiry(row, token time.Time) bool {
	const farthest, step = 14 * time.Hour, 15 * time.Minute
	apart := row.Sub(token).Abs()
	return apart <= farthest+time.Second && (apart+time.Second)%step <= 2*time.Second
}

// markTaken has the shop's own table say that the token is used up, where we may write to it.
func (i *issuer) markTaken(ctx context.Context, t *shopToken, r store.Rotation) {
	if i.config.Legacy.Tokens == nil {
		return
	}
	err := i.config.Legacy.Tokens.RevokeShopToken(context.WithoutCancel(ctx), t.id, i.config.Now())
	if err != nil && !errors.Is(err, store.ErrReadOnly) {
		i.config.Event(ctx, Event{Name: EventShopUnmarked, Client: r.Client, Subject: r.Subject, Session: r.Name})
	}
}

// discard ends the session of a token, for which the store has no record that could be ended, so that it is never taken
// over. It reports whether this call ended it.
func (i *issuer) discard(ctx context.Context, client *Client, token refreshToken, e store.Ending) (bool, error) {
	now := i.config.Now()
	result, err := i.config.Sessions.Adopt(ctx, store.Adoption{
		Rotation: store.Rotation{Name: e.Name, Subject: e.Subject, Client: client.ID, Expires: token.expiresAt, From: e.From},
		Granted:  token.shop.scopes, MaxLife: client.MaxLife(now).Sub(now), MaxOpen: i.config.Refresh.MaxSessions, End: e.Cause,
	})
	switch {
	case err != nil:
		return false, err //nolint:wrapcheck // the caller wraps it
	case result.Outcome == store.Discarded:
		i.markTaken(ctx, token.shop, store.Rotation{Name: e.Name, Subject: e.Subject, Client: client.ID})
		return true, nil
	default: // another request has taken it over meanwhile
		return i.config.Sessions.End(ctx, e) //nolint:wrapcheck // the caller wraps it
	}
}

// finish ends the session of a token, also of one that was not taken over yet. It reports whether this call ended it.
func (i *issuer) finish(ctx context.Context, client *Client, token refreshToken, e store.Ending) (bool, error) {
	ended, err := i.config.Sessions.End(ctx, e)
	if err == nil && !ended && token.shop != nil {
		ended, err = i.discard(ctx, client, token, e)
	}
	if err != nil {
		return false, unavailable(err)
	}
	return ended, nil
}

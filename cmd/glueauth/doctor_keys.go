package main

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/glueauth/glueauth/keys"
)

const (
	signingCheck = "signing keys"
	shopKeyCheck = "the shop's key"
)

func (d *doctor) checkKeys(ctx context.Context) []finding {
	found := []finding{d.checkMaster(ctx), d.checkSigning(ctx)}
	if d.shopKey != "" {
		found = append(found, d.checkShopKey())
	}
	return found
}

func (d *doctor) checkMaster(ctx context.Context) finding {
	const check = "master key"
	path := d.cfg.Keys.MasterFile
	master, err := existingMaster(ctx, d.cfg)
	if err == nil {
		err = makesTokens(d.cfg, master)
	}
	switch {
	case err == nil && path == "":
		d.master = master
		return fine(check, "it stands in master_key")
	case err == nil:
		d.master = master
		return fine(check, "it stands in %s", path)
	case errors.Is(err, fs.ErrNotExist) && inData(d.cfg, path):
		return fine(check, "the first start makes it in %s", path)
	case errors.Is(err, fs.ErrNotExist):
		return broken(check, "put 32 random bytes there (openssl rand -out FILE 32, mode 0600)", "there is none in %s", path)
	default:
		return failed(check, err)
	}
}

// checkSigning looks at the keys as the start does, the shop's own in the settings among them.
func (d *doctor) checkSigning(ctx context.Context) finding {
	var shop *keys.ShopKey
	var ring *keys.Ring
	err := withOptions(ctx, d.cfg, func(o keys.Options) (err error) {
		shop = o.Shop
		if err := leftBehind(o); err != nil {
			return err
		}
		ring, err = keys.Open(o)
		return err
	})
	switch {
	case errors.Is(err, keys.ErrNoKeys):
		return d.noKeys(ctx)
	case err != nil:
		return failed(signingCheck, err)
	}
	d.ring = ring
	if err := signsForAll(d.cfg, ring); err != nil {
		return failed(signingCheck, err)
	}
	all := slices.DeleteFunc(ring.List(), func(k keys.Info) bool { return k.State == keys.Gone })
	if shop != nil && all[0].Kid != shop.Kid() {
		return otherSigns(signingCheck, shop.Kid(), all[0].Kid)
	}
	whose := ""
	if shop != nil {
		whose = ", which is the shop's,"
	}
	return fine(signingCheck, "%d published; %s%s signs with %s and %d bits", len(all), all[0].Kid, whose, all[0].Algorithm, all[0].Bits)
}

// noKeys says what the first start does about it.
func (d *doctor) noKeys(ctx context.Context) finding {
	dir := d.cfg.Keys.Dir
	if d.cfg.Keys.Shared {
		dir = "redis"
	} else if !inData(d.cfg, dir) {
		return broken(signingCheck, "put the key there with `glueauth keys import` or `glueauth keys generate`", "there is none in %s", dir)
	}
	if served, err := wasServed(ctx, d.cfg); err == nil && served && !d.cfg.Keys.Shared { // what is wrong with the database is told of the sessions
		return risky(signingCheck, "restore the folder from a backup before the next start",
			"there is none in %s, but %s is not new: the next start makes one, and access tokens of the former key are void", dir, filepath.Join(d.cfg.Data, databaseName))
	}
	if d.cfg.Customers.Source != customersInFile {
		return risky(signingCheck, "put the shop's own key there first: glueauth keys import --file PRIVATE",
			"the first start makes a new one in %s: whoever verifies by the shop's public key refuses its tokens", dir)
	}
	return fine(signingCheck, "the first start makes one in %s", dir)
}

// checkShopKey looks whether the private half of the shop's public key is among ours.
func (d *doctor) checkShopKey() finding {
	public, err := keys.ReadShopKey("", "file://"+d.shopKey)
	if err != nil {
		return failed(shopKeyCheck, err)
	}
	var all []keys.Info
	if d.ring != nil {
		all = d.ring.List()
	}
	switch i := slices.IndexFunc(all, func(k keys.Info) bool { return k.Kid == public.Kid() }); {
	case i < 0:
		return broken(shopKeyCheck, "take the private key from where the shop has it (SPRYKER_OAUTH_KEY_PRIVATE): glueauth keys import --file PRIVATE --public "+d.shopKey,
			"none of our keys is the private one of %s: the shop's tokens are refused here, and ours there", d.shopKey)
	case i > 0:
		return otherSigns(shopKeyCheck, public.Kid(), all[0].Kid)
	default:
		return fine(shopKeyCheck, "%s is the public half of the key that signs", d.shopKey)
	}
}

func otherSigns(check, shop, signing string) finding {
	return risky(check, "glueauth keys import --sign, if whoever verifies our tokens does not read our JWKS",
		"the shop's key %s is there, but %s signs: a shop that knows its own only refuses our tokens", shop, signing)
}

package cli

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"tidings/internal/admin"
	"tidings/internal/app"
)

func (e *env) keyCommand() *cobra.Command {
	cmd := group("key", "Add, retire and remove the secret keys of an app",
		e.keyAddCommand(), e.keyListCommand(), e.keyRetireCommand(), e.keyRemoveCommand())
	cmd.Long = `Add, retire and remove the secret keys of an app.

Tickets are made with the primary key and accepted with every key. To replace a
key: add another primary key, give it to those who sign, retire the old key.`
	dataFlag(cmd.PersistentFlags())
	return cmd
}

// keySettings are the names of what a configuration says of keys.
var keySettings = []string{"secret_key", "retiring_keys"}

func (e *env) keyAddCommand() *cobra.Command {
	var secretFile string
	cmd := &cobra.Command{
		Use:   "add SDKAPPID",
		Short: "Add a key, a new one if none is given",
		Example: `  tidings key add 1400000001 --primary
  tidings key add 1400000001 --secret-key-file old.key`,
		Args: takes("SDKAPPID"),
	}
	primary := cmd.Flags().Bool("primary", false, "make it the primary key; the one before it stays accepted")
	secretFlag(cmd, &secretFile, "`FILE` with the key")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, err := parseApp(args[0])
		if err != nil {
			return err
		}
		in := admin.NewKeyRequest{ID: id, Primary: *primary}
		if secretFile != "" {
			if in.Secret, err = e.secret(secretFile); err != nil {
				return err
			}
		}
		k, err := change(e, cmd, admin.AddKey, in, id, keySettings...)
		if err != nil {
			return err
		}
		if in.Secret != "" {
			k.Secret = app.Secret("").String() // whoever gave it knows it
		}
		if *asJSON {
			return e.printJSON(k)
		}
		return table(e.stdout, func(row func(...any)) {
			row("Key", k.ID)
			row("Primary", yesNo(k.Primary))
			if in.Secret == "" {
				row("Secret key", k.Secret)
			}
		})
	}
	return cmd
}

func (e *env) keyListCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "list SDKAPPID", Short: "List the keys of an app", Args: takes("SDKAPPID")}
	reveal := cmd.Flags().Bool("reveal", false, "show the secrets")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, err := parseApp(args[0])
		if err != nil {
			return err
		}
		op := admin.ListKeys
		if *reveal {
			op = admin.RevealKeys
		}
		keys, err := ask(e, cmd, op, admin.AppRequest{ID: id})
		if err != nil {
			return err
		}
		if *asJSON {
			return e.printJSON(keys)
		}
		if len(keys) == 0 {
			_, err := fmt.Fprintf(e.stdout, "App %d has no keys; tidings key add %d adds one.\n", id, id)
			return err
		}
		return table(e.stdout, func(row func(...any)) {
			row("KEY", "STATE", "CREATED", "ENDS", "SECRET")
			for _, k := range keys {
				row(k.ID, keyState(k), moment(k.Created), moment(k.Ends), plain(k.Secret))
			}
		})
	}
	return cmd
}

func keyState(k admin.Key) string {
	switch {
	case k.Ended:
		return "ended"
	case k.Primary:
		return "primary"
	case !k.Ends.IsZero():
		return "retiring"
	}
	return "accepted"
}

func (e *env) keyRetireCommand() *cobra.Command {
	var ends string
	var in span
	var never bool
	cmd := &cobra.Command{
		Use:   "retire SDKAPPID KEYID",
		Short: "Let a key that is not the primary end at a time",
		Example: `  tidings key retire 1400000001 1 --ends 2026-12-31T00:00:00Z
  tidings key retire 1400000001 1 --in 24h
  tidings key retire 1400000001 1 --never`,
		Args: takes("SDKAPPID", "KEYID"),
	}
	cmd.Flags().StringVar(&ends, "ends", "", "`TIME` when it ends, such as 2026-12-31T00:00:00Z")
	cmd.Flags().Var(&in, "in", "how long it stays accepted, such as 24h or 7d")
	cmd.Flags().BoolVar(&never, "never", false, "take the end away")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, key, err := parseKey(args)
		if err != nil {
			return err
		}
		request := admin.RetireRequest{ID: id, Key: key}
		if request.Ends, err = ending(ends, time.Duration(in), never); err != nil {
			return err
		}
		k, err := change(e, cmd, admin.RetireKey, request, id, keySettings...)
		if err != nil {
			return err
		}
		switch {
		case *asJSON:
			return e.printJSON(k)
		case k.Ends.IsZero():
			_, err = fmt.Fprintf(e.stdout, "Key %d of app %d has no end.\n", key, id)
		case k.Ended:
			_, err = fmt.Fprintf(e.stdout, "Key %d of app %d has ended.\n", key, id)
		default:
			_, err = fmt.Fprintf(e.stdout, "Key %d of app %d ends at %s.\n", key, id, moment(k.Ends))
		}
		return err
	}
	return cmd
}

// ending returns when a key ends, by the one of --ends, --in and --never that was given;
// zero is never.
func ending(ends string, in time.Duration, never bool) (time.Time, error) {
	switch {
	case ends != "" && in == 0 && !never:
		for _, layout := range []string{time.RFC3339, time.DateOnly} {
			if t, err := time.Parse(layout, ends); err == nil {
				return t.UTC(), nil
			}
		}
		return time.Time{}, usagef("--ends %q is not a time such as 2026-12-31T00:00:00Z", ends)
	case in != 0 && ends == "" && !never:
		return time.Now().Add(in).UTC().Truncate(time.Second), nil
	case never && ends == "" && in == 0:
		return time.Time{}, nil
	}
	return time.Time{}, usagef("say when the key ends with one of --ends, --in and --never")
}

func (e *env) keyRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "remove SDKAPPID KEYID",
		Short: "Remove a key at once: tickets made with it fail from now on",
		Args:  takes("SDKAPPID", "KEYID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, key, err := parseKey(args)
			if err != nil {
				return err
			}
			var keys []admin.Key
			err = e.operate(cmd, accessOf(admin.RemoveKey.Effect()), func(ctx context.Context, c admin.Caller) (err error) {
				if _, err := admin.RemoveKey.Do(ctx, c, admin.KeyRequest{ID: id, Key: key}); err != nil {
					return err
				}
				e.warnUndone(ctx, c, id, keySettings...)
				keys, err = admin.ListKeys.Do(ctx, c, admin.AppRequest{ID: id})
				return err
			})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(e.stdout, "Key %d of app %d is removed.%s\n", key, id, withoutPrimary(id, keys))
			return err
		},
	}
}

// withoutPrimary returns a sentence about an app without a primary key; empty if one of
// the keys is primary.
func withoutPrimary(id uint32, keys []admin.Key) string {
	signer := 0
	for _, k := range keys {
		switch {
		case k.Ended:
		case k.Primary:
			return ""
		default:
			signer = max(signer, k.ID) // as app.GoodKeys orders them
		}
	}
	if signer == 0 {
		return fmt.Sprintf(" No key is left that is accepted: every call fails until tidings key add %d.", id)
	}
	return fmt.Sprintf(" There is no primary key now: tickets are made with key %d.", signer)
}

// parseKey reads the arguments SDKAPPID KEYID.
func parseKey(args []string) (id uint32, key int, err error) {
	if id, err = parseApp(args[0]); err != nil {
		return 0, 0, err
	}
	if key, err = strconv.Atoi(args[1]); err != nil || key <= 0 {
		return 0, 0, usagef("KEYID %q is not a number; tidings key list %d shows them", args[1], id)
	}
	return id, key, nil
}

package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"tidings/bench/load"
	"tidings/internal/admin"
	"tidings/internal/app"
	"tidings/internal/control"
	"tidings/internal/usersig"
)

// targetFlags are the flags that say which app of which server gets the load, and who
// sends it.
type targetFlags struct {
	app                                   uint32
	data, url, identifier, secretFile, ca string
	insecure                              bool
}

func (f *targetFlags) add(flags *pflag.FlagSet) {
	flags.Uint32Var(&f.app, "app", 0, "`SDKAPPID` of the app (required)")
	flags.StringVar(&f.data, "data", cmp.Or(os.Getenv("TIDINGS_DATA"), "./tidings-data"), "data `directory` of the server; TIDINGS_DATA sets another default")
	flags.StringVar(&f.url, "url", "", "`URL` of the server, such as https://push.example.com; default the one that runs on the data directory")
	flags.StringVar(&f.identifier, "identifier", app.BuiltInAdmin, "`ACCOUNT` that calls")
	flags.StringVar(&f.secretFile, "secret-key-file", "", "`FILE` with the key to sign with, - is standard input; default the keys of the server on the data directory")
	flags.StringVar(&f.ca, "ca", "", "`FILE` with further certificates to trust (PEM)")
	flags.BoolVar(&f.insecure, "insecure", false, "trust any certificate")
}

// target returns the app with a ticket that is good for life. What the flags do not say
// comes from the server that runs on the data directory.
func (f *targetFlags) target(ctx context.Context, stdin io.Reader, life time.Duration) (t load.Target, err error) {
	if f.app == 0 {
		return t, usagef("--app is missing")
	}
	t = load.Target{SDKAppID: f.app, Identifier: f.identifier}
	if t.TLS, err = f.trust(); err != nil {
		return t, err
	}
	if f.url != "" {
		u, err := url.Parse(f.url)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.User != nil {
			return t, usagef("--url %q is not of the form https://host:port", f.url)
		}
		t.URL = strings.TrimSuffix(f.url, "/")
	}
	if f.secretFile != "" {
		secret, err := readSecret(f.secretFile, stdin)
		if err != nil {
			return t, err
		}
		t.Ticket = usersig.Make(secret, t.SDKAppID, t.Identifier, time.Now(), life, nil)
	}
	if t.URL != "" && t.Ticket != "" {
		return t, nil
	}
	return t, f.askServer(ctx, &t, life)
}

// askServer completes a target with what the server on the data directory knows.
func (f *targetFlags) askServer(ctx context.Context, t *load.Target, life time.Duration) (err error) {
	server, err := control.Dial(ctx, f.data)
	if errors.Is(err, control.ErrNoServer) {
		return fmt.Errorf("no server is running on the data directory %s; name another with --data, or a server with --url and --secret-key-file", f.data)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	if t.URL == "" {
		var info admin.Info
		if err := server.Call(ctx, "info", struct{}{}, &info); err != nil {
			return err
		}
		t.URL = dialable(info.URL)
	}
	if t.Ticket == "" {
		var sig admin.Sig
		if err := server.Call(ctx, "sig/make", admin.SigRequest{ID: t.SDKAppID, Identifier: t.Identifier, Life: life}, &sig); err != nil {
			return err
		}
		t.Ticket = sig.Ticket
	}
	return nil
}

// trust returns how the certificate of the server is verified.
func (f *targetFlags) trust() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: f.insecure}
	if f.ca == "" {
		return c, nil
	}
	pem, err := os.ReadFile(f.ca)
	if err != nil {
		return nil, fmt.Errorf("--ca: %w", err)
	}
	if c.RootCAs, err = x509.SystemCertPool(); err != nil {
		c.RootCAs = x509.NewCertPool()
	}
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("--ca: %s holds no certificate in PEM form", f.ca)
	}
	return c, nil
}

// maxSecretBytes is far more than a secret key has.
const maxSecretBytes = 4 << 10

// readSecret returns the key in a file. Errors show nothing of what was read.
func readSecret(file string, stdin io.Reader) (string, error) {
	in := stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", fmt.Errorf("--secret-key-file: %w", err)
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, maxSecretBytes+1))
	key := strings.TrimSpace(string(b))
	switch {
	case err != nil:
		return "", fmt.Errorf("--secret-key-file: %w", err)
	case len(b) > maxSecretBytes:
		return "", fmt.Errorf("--secret-key-file: %s is larger than a key can be", file)
	case key == "":
		return "", fmt.Errorf("--secret-key-file: %s is empty", file)
	}
	return key, nil
}

// dialable returns where a server of this machine can be reached: one that listens on
// every address can be reached on loopback.
func dialable(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return text
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil && ip.IsUnspecified() {
		u.Host = net.JoinHostPort("127.0.0.1", u.Port())
	}
	return u.String()
}

// isLoopback reports whether a URL is of this machine.
func isLoopback(text string) bool {
	u, err := url.Parse(text)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

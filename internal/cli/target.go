package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tidings/client"
	"tidings/internal/admin"
	"tidings/internal/app"
	"tidings/internal/control"
)

// A target is a server to send requests to, and who sends them.
type target struct {
	url        string
	local      bool // the server is the one on the data directory
	app        uint32
	identifier string
	ticket     string
	tls        *tls.Config
	client     *client.Client // for all requests of a command; nil before the first
}

// targetFlags are the flags of commands that send requests.
type targetFlags struct {
	app                             appID
	url, identifier, secretFile, ca string
	insecure                        bool
}

// targetFlags adds flags to a command. Without --url the target is the server that runs on
// the data directory. Without --secret-key-file the keys in the data directory sign.
func (e *env) targetFlags(cmd *cobra.Command) *targetFlags {
	f := new(targetFlags)
	flags := cmd.Flags()
	flags.StringVar(&f.url, "url", "", "`URL` of the server, such as https://push.example.com; default the one that runs on the data directory")
	flags.StringVar(&f.identifier, "identifier", app.BuiltInAdmin, "`ACCOUNT` that calls")
	secretFlag(cmd, &f.secretFile, "`FILE` with the key to sign with; default the keys in the data directory")
	flags.StringVar(&f.ca, "ca", "", "`FILE` with further certificates to trust (PEM)")
	flags.BoolVar(&f.insecure, "insecure", false, "trust any certificate")
	dataFlag(flags)
	return f
}

// target finds the server and makes a ticket with a lifetime.
func (e *env) target(cmd *cobra.Command, f *targetFlags, life time.Duration) (*target, error) {
	t := &target{app: uint32(f.app), identifier: f.identifier, local: f.url == ""}
	var err error
	if t.tls, err = f.trust(); err != nil {
		return nil, err
	}
	if !t.local {
		u, err := url.Parse(f.url)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.User != nil {
			return nil, usagef("--url %q is not of the form https://host:port", f.url)
		}
		t.url = strings.TrimSuffix(f.url, "/")
	}
	if f.secretFile != "" {
		sig, err := e.makeSig(f.secretFile, t.app, t.identifier, life)
		if err != nil {
			return nil, err
		}
		t.ticket = sig.Ticket
	}
	if t.url != "" && t.ticket != "" {
		return t, nil
	}
	dir := e.data(cmd)
	c, err := e.server(cmd.Context(), dir, t.local)
	if err != nil {
		return nil, err
	}
	return t, errors.Join(t.complete(cmd.Context(), c, life), c.Close())
}

// server returns a Caller for the data directory. If mustRun is set, a server has to run
// on the directory.
func (e *env) server(ctx context.Context, dir string, mustRun bool) (admin.Caller, error) {
	if !mustRun {
		c, err := e.reach(ctx, dir, reads)
		if err != nil {
			err = fmt.Errorf("no key to sign with, name a file with --secret-key-file: %w", err)
		}
		return c, err
	}
	c, err := control.Dial(ctx, dir)
	if errors.Is(err, control.ErrNoServer) {
		err = fmt.Errorf("no server is running on the data directory %s; start one with tidings serve, name another directory with --data or a server with --url", dir)
	}
	return c, err
}

// complete asks a data directory for what is still missing.
func (t *target) complete(ctx context.Context, c admin.Caller, life time.Duration) error {
	if t.url == "" {
		info, err := admin.GetInfo.Do(ctx, c, admin.None{})
		if err != nil {
			return err
		}
		t.url = dialable(info.URL)
		if info.Certificate != nil && !t.tls.InsecureSkipVerify {
			t.tls = pinned(info.Certificate)
		}
	}
	if t.ticket == "" {
		sig, err := admin.MakeSig.Do(ctx, c, admin.SigRequest{ID: t.app, Identifier: t.identifier, Life: life})
		if err != nil {
			return err
		}
		t.ticket = sig.Ticket
	}
	return nil
}

// trust returns the configuration of TLS that --ca and --insecure ask for.
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

// pinned returns a configuration of TLS that trusts one certificate and no other, whatever
// host the certificate names. The server on the data directory reported the certificate
// through its control socket.
func pinned(certificate []byte) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // no chain and no name: the bytes are compared
		VerifyConnection: func(c tls.ConnectionState) error {
			if len(c.PeerCertificates) == 0 || !bytes.Equal(c.PeerCertificates[0].Raw, certificate) {
				return errors.New("another certificate answers than that of the server on the data directory; try again if it was renewed at this moment")
			}
			return nil
		},
	}
}

// explain adds what to do about a certificate that is not trusted.
func (t *target) explain(err error) error {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); !ok {
		return err
	}
	_, otherHost := errors.AsType[x509.HostnameError](err)
	_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	switch {
	case otherHost:
		return fmt.Errorf("%w; name the server in --url as its certificate does", err)
	case t.tls.RootCAs == nil:
		return fmt.Errorf("%w; trust it with --ca FILE or --insecure", err)
	case unknown:
		return fmt.Errorf("%w; the file of --ca does not have the certificate that signed it", err)
	}
	return err
}

// dialable returns a URL under which a server of this machine can be called. A server that
// listens on every address can be called on loopback.
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

func isTLS(address string) bool { return strings.HasPrefix(address, "https:") }

//go:build unix

package cli

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// TestHangup: a SIGHUP does not end a server. It reads the certificate again, and one that
// cannot be used leaves that of before in its place.
func TestHangup(t *testing.T) {
	cert, key := certificateFor(t, "first.example.com")
	dir := filepath.Join(t.TempDir(), "data")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "serve", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--data", dir, "--tls-cert", cert, "--tls-key", key)
	stdout, log := new(buffer), new(buffer)
	cmd.Stdout, cmd.Stderr = stdout, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	stdout.await(t, readyLine, 1)
	ready := readyLine.FindStringSubmatch(stdout.String())
	served := func() *x509.Certificate {
		t.Helper()
		conn, err := tls.Dial("tcp", strings.TrimPrefix(ready[1], "https://"), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0]
	}
	hangup := func(pattern string) {
		t.Helper()
		if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		log.await(t, regexp.MustCompile(pattern), 1)
	}
	move := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	if got := served().DNSNames[0]; got != "first.example.com" {
		t.Errorf("serves %s", got)
	}
	hangup(`the certificate has not changed`)
	newCert, newKey := certificateFor(t, "second.example.com")
	move(newCert, cert) // and not yet its key
	hangup(`level=WARN msg="the new certificate cannot be used, the one of before stays" reason="tls_key: the private key does not fit`)
	if got := served().DNSNames[0]; got != "first.example.com" {
		t.Errorf("serves %s with a key that does not fit", got)
	}
	move(newKey, key)
	hangup(`level=INFO msg="certificate replaced" names=second.example.com ends=`)
	leaf := served()
	if leaf.DNSNames[0] != "second.example.com" {
		t.Errorf("serves %s", leaf.DNSNames[0])
	}
	if got := metric(t, ready[3], "tidings_tls_certificate_expiry_timestamp_seconds"); got != float64(leaf.NotAfter.Unix()) {
		t.Errorf("the metric of its end is %v, want %d", got, leaf.NotAfter.Unix())
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	hangup(`reason="tls_key: .*no such file or directory"`)
	if resp, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}).Get(ready[1] + "/readyz"); err != nil || resp.StatusCode != 200 {
		t.Errorf("%v, %v", resp, err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, log)
	}
}

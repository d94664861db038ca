package config

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"

	"tidings/internal/wording"
)

// providerURL parses the address of a provider. Credentials go there, so it is https,
// unless it is on this machine.
func providerURL(s string) (string, error) {
	u, err := url.Parse(s)
	if err == nil && u.User != nil {
		return "", errors.New("holds a user name or a password, which no provider takes")
	}
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		return "", fmt.Errorf("%s is not a URL such as https://fcm.googleapis.com; http is for loopback addresses only", wording.Quote(s))
	}
	return s, nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// ProxyOfEnvironment is the value of a proxy that the variables of the environment name.
const ProxyOfEnvironment = "environment"

// proxyURL parses the address of a proxy, which may hold a password: the error does not
// show the address.
func proxyURL(s string) (string, error) {
	u, err := url.Parse(s)
	if s != ProxyOfEnvironment && (err != nil || u.Host == "" || !slices.Contains([]string{"http", "https", "socks5"}, u.Scheme)) {
		return "", errors.New("is not the URL of a proxy such as http://proxy.example.com:3128, nor " + ProxyOfEnvironment)
	}
	return s, nil
}

// authorities checks a file of certificates to trust.
func authorities(name string) (string, error) {
	_, err := LoadAuthorities(name)
	return name, err
}

// LoadAuthorities returns the authorities of the system and those of a PEM file.
func LoadAuthorities(name string) (*x509.CertPool, error) {
	data, err := readFile(name, maxPEMBytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", wording.Quote(name), err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // there are none
	}
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s holds no certificate in PEM form", wording.Quote(name))
	}
	return pool, nil
}

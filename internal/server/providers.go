package server

import (
	"cmp"
	"net/http"
	"net/url"

	"tidings/internal/channel"
	"tidings/internal/channel/fcm"
	"tidings/internal/config"
)

// newDrivers returns the drivers of the providers that this program can reach. Where they
// are and whom to trust comes from the configuration alone.
func newDrivers(cfg *config.Config) (channel.Drivers, error) {
	o := fcm.Options{
		BaseURL: cfg.FCMURL, TokenURL: cfg.FCMTokenURL, Connections: cfg.FCMConnections, Timeout: cfg.FCMTimeout,
		Rate: cmp.Or(cfg.FCMRate, -1), NoRamp: !cfg.FCMRamp,
	}
	var err error
	if cfg.FCMCAFile != "" {
		if o.Roots, err = config.LoadAuthorities(cfg.FCMCAFile); err != nil {
			return nil, err
		}
	}
	if o.Proxy, err = proxy(cfg.FCMProxy); err != nil {
		return nil, err
	}
	google, err := fcm.New(o)
	if err != nil {
		return nil, err
	}
	return channel.Drivers{channel.FCM: google}, nil
}

// proxy returns the function that chooses a proxy for a request; nil if there is none.
func proxy(configured string) (func(*http.Request) (*url.URL, error), error) {
	switch configured {
	case "":
		return nil, nil
	case config.ProxyOfEnvironment:
		return http.ProxyFromEnvironment, nil
	}
	u, err := url.Parse(configured)
	if err != nil {
		return nil, err
	}
	return http.ProxyURL(u), nil
}

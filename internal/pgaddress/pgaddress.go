// Package pgaddress judges addresses of PostgreSQL databases: it promises that none with a
// password passes, which others on the machine could see, nor, unless told otherwise, one of
// another machine whose certificate would not be checked.
package pgaddress

import (
	"net"
	"net/url"

	"github.com/jackc/pgx/v5/pgconn"

	"strongroom.dev/verdict"
)

// Check refuses an address that can't be used; flag names where it came from, example is one
// that could be.
func Check(address, flag, example string, insecureConnection bool) error {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return verdict.Misuse(flag, example, "something else", "correct it")
	}
	if _, secret := u.User.Password(); secret || u.Query().Has("password") {
		return verdict.Misuse(flag, "an address without a password: others on this machine can see it", "one with a password", "put the password into ~/.pgpass, or the file that PGPASSFILE names")
	}
	c, err := pgconn.ParseConfig(address)
	if err != nil {
		return verdict.Misuse(flag, example, "something else", "correct it")
	}
	if host := unchecked(*c); host != "" && !insecureConnection {
		return verdict.Misuse(flag, "a connection to "+verdict.Short(host)+" on which its certificate and name are checked", "one that takes any certificate, or none",
			"add sslmode=verify-full, and sslrootcert=FILE for an authority of your own; or use a Unix socket")
	}
	return nil
}

// unchecked gives the first host that would be reached over a network without being known by its
// certificate, of all that the driver would try, in all ways it would try; "" if none would.
func unchecked(c pgconn.Config) string {
	tries := append([]*pgconn.FallbackConfig{{Host: c.Host, Port: c.Port, TLSConfig: c.TLSConfig}}, c.Fallbacks...)
	for _, t := range tries {
		network, _ := pgconn.NetworkAddress(t.Host, t.Port)
		known := t.TLSConfig != nil && !t.TLSConfig.InsecureSkipVerify
		if network != "unix" && !loopback(t.Host) && !known {
			return t.Host
		}
	}
	return ""
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

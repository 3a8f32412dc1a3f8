// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// runCertificate writes ca.crt, tls.crt and tls.key for a server on this machine, signed by a new CA.
func runCertificate() {
	flags := flag.NewFlagSet("certificate", flag.ExitOnError)
	dir := flags.String("dir", ".", "folder for the files")
	name := flags.String("name", "lab", "common name of the server")
	hosts := flags.String("hosts", "localhost", "comma-separated names besides the loopback addresses")
	_ = flags.Parse(os.Args[1:])
	if err := writeCertificate(*dir, *name, strings.Split(*hosts, ",")); err != nil {
		fmt.Fprintln(os.Stderr, "certificate:", err)
		os.Exit(1)
	}
}

func writeCertificate(dir, name string, hosts []string) error {
	ca, err := newAuthority(name + "-ca")
	if err != nil {
		return err
	}
	server, err := ca.server(name, []string{"127.0.0.1", "::1"}, hosts)
	if err != nil {
		return err
	}
	for file, content := range map[string][]byte{"ca.crt": ca.pem, "tls.crt": server.cert, "tls.key": server.key} {
		if err := os.WriteFile(filepath.Join(dir, file), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

